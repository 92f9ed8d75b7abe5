"""What a strategy is, and what strategies share."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

from spar_core.search.expansion import Expansion
from spar_core.search.result import StopReason
from spar_core.search.tree import Node
from spar_core.seeds import derive_seed

# Expands nodes until one is accepted or nothing is left to do, and says why it stopped.
# The engine puts "tokens" or "upstream" in place of "no_candidates" where that was the cause.
Strategy = Callable[[Expansion, Node], Awaitable[StopReason]]


def select(expansion: Expansion, nodes: Sequence[Node], count: int, *place: int | str) -> list[Node]:
    """The `count` nodes to go on from, of those that can be refined.

    Greedy: the highest values, earlier paths first among equals. Sampled: drawn without replacement in
    proportion to value, uniformly where every value is zero; `place` names the draw for its seed.
    """
    pool = [node for node in nodes if node.expandable]
    if expansion.config.select == "greedy":
        return sorted(pool, key=lambda node: (-(node.value or 0.0), node.depth, node.path))[:count]
    rng = random.Random(derive_seed(expansion.config.seed, "select", *place))
    chosen: list[Node] = []
    while pool and len(chosen) < count:
        weights = [node.value or 0.0 for node in pool]
        drawn = rng.choices(pool, weights if any(weights) else None)[0]
        pool.remove(drawn)
        chosen.append(drawn)
    return chosen
