"""The registry of search strategies: a strategy is one file here and one line below.

Another package adds its own by the entry point `spar.strategies` (docs/extending.md).
"""

from __future__ import annotations

from typing import Final

from spar_core.plugins import Registry
from spar_core.search.strategies.base import Strategy, select
from spar_core.search.strategies.best_first import best_first
from spar_core.search.strategies.best_of_n import best_of_n
from spar_core.search.strategies.bfs import bfs
from spar_core.search.strategies.dfs import dfs
from spar_core.search.strategies.iterative import iterative

__all__ = ["STRATEGIES", "Strategy", "select"]

STRATEGIES: Final[Registry[Strategy]] = Registry(
    "spar.strategies",
    {
        "bfs": bfs,
        "dfs": dfs,
        "best_first": best_first,
        "iterative": iterative,
        "best_of_n": best_of_n,
    },
    kind="search algorithm",
)
