"""Best first: always refine the most promising node found so far, anywhere in the tree."""

from __future__ import annotations

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.strategies.base import select
from spar_core.search.tree import Node


async def best_first(expansion: Expansion, root: Node) -> StopReason:
    config = expansion.config
    frontier, deepest = [root], root.depth + config.tree_depth
    deepest_reached = False
    for turn in range(expansion.budget.nodes_left + 1):
        if not expansion.budget.nodes_left:
            return "budget"
        chosen = select(expansion, frontier, 1, turn)
        if not chosen:
            break
        frontier.remove(chosen[0])
        children = await expansion.refine_all(expansion.branches(chosen[0]))
        if any(node.accepted for node in children):
            return "refined_accepted"
        frontier += [node for node in children if node.depth < deepest]
        deepest_reached = deepest_reached or any(node.depth == deepest for node in children)
    return "depth" if deepest_reached else "no_candidates"
