"""Iterative: one chain of refinements, each of the one before it; a failed one is tried again.

`branch`, `beam` and `max_depth` shape trees and do not apply: the budget is the chain's length.
"""

from __future__ import annotations

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.tree import Node


async def iterative(expansion: Expansion, root: Node) -> StopReason:
    current, tries = root, 0
    while expansion.budget.nodes_left:
        made = await expansion.refine_all([(current, tries)])
        tries += 1
        if not made or expansion.tokens_exhausted:
            return "no_candidates"
        if made[0].accepted:
            return "refined_accepted"
        if made[0].expandable:
            current, tries = made[0], 0
    return "budget"
