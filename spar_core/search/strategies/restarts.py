"""Use a budget beyond one tree: more trees, each from a fresh draft, until one answer is accepted.

A tree that ends without an accepted answer has mostly been refining a draft that its refiner cannot repair. At budgets
of 16, 32 and 64 a fresh draft gains more, for fewer tokens, than a deeper tree, a wider one, another tree from the same
draft or one from the best node so far (figures in docs/architecture.md).
"""

from __future__ import annotations

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.strategies.base import Strategy
from spar_core.search.tree import Node


async def search_trees(strategy: Strategy, expansion: Expansion, root: Node, *, redraft: bool) -> StopReason:
    """Search from `root` and, unless the config sets a depth, from further drafts until the budget is used up.

    Another tree follows only after the reasons "depth" and "no_candidates". A fresh draft costs a node and is a child
    of the root. Without `redraft` every tree starts from `root`, because the caller wants that very answer refined.
    """
    start = root
    while True:
        reason = await strategy(expansion, start)
        if reason not in ("depth", "no_candidates") or expansion.config.max_depth is not None:
            return reason
        if reason == "no_candidates" and (expansion.degraded or expansion.tokens_exhausted):
            return reason
        if not expansion.budget.nodes_left:
            return "budget"
        if redraft:
            fresh = await _fresh_draft(expansion, root)
            if fresh is None:
                return "no_candidates"
            if fresh.accepted:
                return "refined_accepted"
            start = fresh


async def _fresh_draft(expansion: Expansion, root: Node) -> Node | None:
    """A new draft to refine, the root again if the actor only repeats itself, or None if the call failed."""
    for node in await expansion.sample_all([expansion.tree.children(root.path)]):
        if node.accepted or node.expandable:
            return node
        if node.outcome in ("failed", "unjudged") and not (node.completion and node.completion.calls_tools):
            return None
    return root
