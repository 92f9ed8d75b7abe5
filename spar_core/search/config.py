"""How to search, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Algorithm = Literal["bfs", "dfs", "best_first", "iterative", "best_of_n"]
StopPolicy = Literal["first", "level"]
Selection = Literal["greedy", "sample"]


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """Defaults are the paper's (arXiv 2412.11605), but `stop` and `early_vote_stop` save compute for serving.

    `budget` is the most nodes that may be expanded, failed refinements included; 0 means no judge at
    all. `max_search_tokens` bounds the completion tokens of all calls together and `deadline_s` the
    wall-clock seconds from the start; None is no bound. `stop="first"` cancels the siblings of an
    accepted node, `"level"` awaits them and takes the best.
    """

    budget: int = 15
    algorithm: Algorithm = "bfs"
    branch: int = 3
    beam: int = 2
    max_depth: int = 3
    votes: int = 5
    threshold: float = 0.5
    stop: StopPolicy = "first"
    select: Selection = "greedy"
    early_vote_stop: bool = True
    max_search_tokens: int | None = None
    deadline_s: float | None = None
    seed: int = 0
