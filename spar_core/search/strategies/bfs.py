"""Breadth first: refine every node of the beam `branch` times, keep the best `beam`, descend one level.

SPaR's search (arXiv 2412.11605): branch 3, beam 2 and depth 3 give 3 + 6 + 6 = 15 nodes. A level that yields only
duplicates and unreadable replies is expanded again from the same beam.
"""

from __future__ import annotations

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.strategies.base import select
from spar_core.search.tree import Node


async def bfs(expansion: Expansion, root: Node) -> StopReason:
    config = expansion.config
    beam, found = [root], [root]
    for depth in range(config.tree_depth):
        if not expansion.budget.nodes_left:
            return "budget"
        level = await expansion.refine_all([branch for node in beam for branch in expansion.branches(node)])
        if any(node.accepted for node in level):
            return "refined_accepted"
        found = select(expansion, level, config.beam, *root.path, depth)
        if not found and (expansion.degraded or expansion.tokens_exhausted):
            break
        beam = found or beam
    if found:
        return "depth"
    return "no_candidates" if expansion.budget.nodes_left else "budget"
