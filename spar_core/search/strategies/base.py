"""The strategy interface, and the node selection that strategies share."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.tree import Node
from spar_core.seeds import derive_seed

# Expands nodes below the given root until one is accepted or nothing is left to expand, and returns why it stopped:
#
# - "refined_accepted": a node is accepted.
# - "budget": `budget.nodes_left` is 0.
# - "depth": this tree is as deep as it may be. "no_candidates": no node is left that could be expanded. After either,
#   if nodes are left and the config sets no depth, the strategy is called again with a fresh draft as its root. The
#   searcher replaces "no_candidates" by "tokens" or "upstream" where that was the cause.
# - "done": the strategy has nothing left to try; no other tree follows.
Strategy = Callable[[Expansion, Node], Awaitable[StopReason]]


def select(expansion: Expansion, nodes: Sequence[Node], count: int, *label: int | str) -> list[Node]:
    """Choose up to `count` expandable nodes to continue from.

    Greedy selection takes the highest values, and earlier paths first among equals. Sampled selection draws without
    replacement in proportion to value, uniformly where every value is zero; `label` derives the seed of the draw, so
    it must differ between the draws of one search.
    """
    pool = [node for node in nodes if node.expandable]
    if expansion.config.select == "greedy":
        return sorted(pool, key=lambda node: (-(node.value or 0.0), node.depth, node.path))[:count]
    rng = random.Random(derive_seed(expansion.config.seed, "select", *label))
    chosen: list[Node] = []
    while pool and len(chosen) < count:
        weights = [node.value or 0.0 for node in pool]
        drawn = rng.choices(pool, weights if any(weights) else None)[0]
        pool.remove(drawn)
        chosen.append(drawn)
    return chosen
