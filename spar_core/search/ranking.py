"""Rank answers by the judges' votes, and never against them."""

from __future__ import annotations

from collections.abc import Sequence

from spar_core.search.tree import Node, Tree


def rank(trees: Sequence[Tree]) -> list[Node]:
    """The usable answers of searches on one conversation, best first; every tree's draft is among them.

    Accepted answers come before unjudged drafts, and those before rejected answers; otherwise the higher value wins,
    and a draft wins a tie. Unjudged refinements and duplicates are left out. Answers that break the requested format
    come last, after refinements without a verdict.
    """
    drafts = [tree.root for tree in trees]
    known = {_text(draft) for draft in drafts}
    refined: list[Node] = []
    for node in (node for tree in trees for node in tree if node.path):
        if node.completion is not None and _is_judged(node) and _text(node) not in known:
            known.add(_text(node))
            refined.append(node)
    # Sorting is stable: among equals the drafts stay in front.
    return sorted([*drafts, *refined], key=_rank_key, reverse=True)


def _is_judged(node: Node) -> bool:
    return node.judgement is not None and (node.value is not None or node.judgement.keeps_format is True)


def _text(node: Node) -> str:
    return node.completion.text.strip() if node.completion else ""


def _rank_key(node: Node) -> tuple[int, float]:
    if node.judgement is not None and node.judgement.keeps_format is False:
        return (-2, 0.0)
    if node.accepted:
        return (2, node.value or 0.0)
    if node.value is None:
        return (-1, 0.0) if node.path else (1, 0.0)
    return (0, node.value)
