"""Depth first: refine a node `branch` times and go down into its best `beam` children, one after the other.

The released SPaR code's default: branch 3, beam 2, depth 3 give 3 + 6 + 12 = 21 nodes.
"""

from __future__ import annotations

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.strategy import select
from spar_core.search.tree import Node


async def dfs(expansion: Expansion, root: Node) -> StopReason:
    config = expansion.config
    if root.depth == config.max_depth:
        return "depth"
    if not expansion.budget.nodes_left:
        return "budget"
    children = await expansion.refine_all([(root, n) for n in range(config.branch)])
    if any(node.accepted for node in children):
        return "refined_accepted"
    chosen = select(expansion, children, config.beam, *root.path)
    reason: StopReason = "no_candidates"
    for child in chosen:
        below = await dfs(expansion, child)
        if below in ("refined_accepted", "budget"):
            return below
        reason = "depth" if "depth" in (reason, below) else below
    return reason if chosen or expansion.budget.nodes_left else "budget"
