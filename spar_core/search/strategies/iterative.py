"""Iterative: one chain of refinements, each of its predecessor; a failed refinement is retried.

`branch`, `beam` and `max_depth` shape trees and do not apply: the budget bounds the chain's length.
"""

from __future__ import annotations

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.tree import Node


async def iterative(expansion: Expansion, root: Node) -> StopReason:
    current, attempts = root, 0
    while expansion.budget.nodes_left:
        nodes = await expansion.refine_all([(current, attempts)])
        attempts += 1
        if not nodes or expansion.tokens_exhausted:
            return "no_candidates"
        if nodes[0].accepted:
            return "refined_accepted"
        if nodes[0].expandable:
            current, attempts = nodes[0], 0
    return "budget"
