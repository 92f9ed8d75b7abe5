"""Which answers are best: by the judges' votes, and never against them."""

from __future__ import annotations

from collections.abc import Sequence

from spar_core.search.tree import Node, Tree


def rank(trees: Sequence[Tree]) -> list[Node]:
    """The usable answers of searches on one conversation, best first; a tree's draft is always one of them.

    An accepted answer stands before an unjudged draft, and that before a rejected answer; otherwise the higher value
    wins, and a draft wins a tie. A refinement that was not judged, or that says what another answer says, is left out.
    Last comes what breaks the form that was asked for: before it stands even a refinement without a verdict.
    """
    drafts = [tree.root for tree in trees]
    known = {_text(draft) for draft in drafts}
    refined: list[Node] = []
    for node in (node for tree in trees for node in tree if node.path):
        if node.completion is not None and _judged(node) and _text(node) not in known:
            known.add(_text(node))
            refined.append(node)
    # Sorting is stable: among equals the drafts stay in front.
    return sorted([*drafts, *refined], key=_standing, reverse=True)


def _judged(node: Node) -> bool:
    return node.judgement is not None and (node.value is not None or node.judgement.keeps_form is True)


def _text(node: Node) -> str:
    return node.completion.text.strip() if node.completion else ""


def _standing(node: Node) -> tuple[int, float]:
    if node.judgement is not None and node.judgement.keeps_form is False:
        return (-2, 0.0)
    if node.accepted:
        return (2, node.value or 0.0)
    if node.value is None:
        return (-1, 0.0) if node.path else (1, 0.0)
    return (0, node.value)
