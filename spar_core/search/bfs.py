"""Breadth first: refine every node of the beam `branch` times, keep the best `beam`, go one level deeper.

SPaR's search (arXiv 2412.11605): branch 3, beam 2, depth 3 give 3 + 6 + 6 = 15 nodes.
"""

from __future__ import annotations

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.strategy import select
from spar_core.search.tree import Node


async def bfs(expansion: Expansion, root: Node) -> StopReason:
    config = expansion.config
    beam = [root]
    for depth in range(config.max_depth):
        if not expansion.budget.nodes_left:
            return "budget"
        level = await expansion.refine_all([(node, n) for node in beam for n in range(config.branch)])
        if any(node.accepted for node in level):
            return "refined_accepted"
        beam = select(expansion, level, config.beam, depth)
        if not beam:
            return "no_candidates" if expansion.budget.nodes_left else "budget"
    return "depth"
