"""Best of N: sample fresh drafts from the actor, `branch` at a time, and let the judge choose; nothing is refined.

The baseline that refinement must beat. `beam` and `max_depth` do not apply.
"""

from __future__ import annotations

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.tree import Node


async def best_of_n(expansion: Expansion, root: Node) -> StopReason:
    sampled = 0
    while expansion.budget.nodes_left:
        nodes = await expansion.sample_all(range(sampled, sampled + expansion.config.branch))
        sampled += expansion.config.branch
        if any(node.accepted for node in nodes):
            return "refined_accepted"
        if expansion.tokens_exhausted or all(node.outcome == "failed" for node in nodes):
            return "no_candidates"
    return "budget"
