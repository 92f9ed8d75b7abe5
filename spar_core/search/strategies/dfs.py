"""Depth first: refine a node `branch` times and descend into its best `beam` children, one after the other.

The released SPaR code's default: branch 3, beam 2 and depth 3 give 3 + 6 + 12 = 21 nodes.
"""

from __future__ import annotations

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.strategies.base import select
from spar_core.search.tree import Node


async def dfs(expansion: Expansion, root: Node) -> StopReason:
    return await _descend(expansion, root, expansion.config.tree_depth)


async def _descend(expansion: Expansion, root: Node, levels: int) -> StopReason:
    """Search the subtree of `root`, at most `levels` deep."""
    config = expansion.config
    if levels == 0:
        return "depth"
    if not expansion.budget.nodes_left:
        return "budget"
    children = await expansion.refine_all(expansion.branches(root))
    if any(node.accepted for node in children):
        return "refined_accepted"
    chosen = select(expansion, children, config.beam, *root.path)
    reason: StopReason = "no_candidates"
    for child in chosen:
        below = await _descend(expansion, child, levels - 1)
        if below in ("refined_accepted", "budget"):
            return below
        reason = "depth" if "depth" in (reason, below) else below
    return reason if chosen or expansion.budget.nodes_left else "budget"
