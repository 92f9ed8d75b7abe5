"""The registry of search strategies: a strategy is one file here and one line below.

Another package adds its own by the entry point `spar.strategies` (docs/extending.md).
"""

from __future__ import annotations

from typing import Final

from spar_core.plugins import Registry
from spar_core.search.strategies.base import Strategy, select

__all__ = ["STRATEGIES", "Strategy", "select"]

# Imported when they are used, so that a strategy may import `spar_core.search` itself.
STRATEGIES: Final[Registry[Strategy]] = Registry(
    "spar.strategies",
    {
        "bfs": "spar_core.search.strategies.bfs:bfs",
        "dfs": "spar_core.search.strategies.dfs:dfs",
        "best_first": "spar_core.search.strategies.best_first:best_first",
        "iterative": "spar_core.search.strategies.iterative:iterative",
        "best_of_n": "spar_core.search.strategies.best_of_n:best_of_n",
    },
    kind="search algorithm",
)
