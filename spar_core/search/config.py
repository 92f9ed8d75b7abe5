"""How to search, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Algorithm = Literal["bfs", "dfs", "best_first", "iterative", "best_of_n"]
StopPolicy = Literal["first", "level"]
Selection = Literal["greedy", "sample"]

PAPER_DEPTH: Final = 3


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """Defaults are the paper's (arXiv 2412.11605), but `stop` and `early_vote_stop` save compute for serving.

    `budget` is the most nodes that may be expanded, failed refinements included; 0 means no judge at
    all. `max_search_tokens` bounds the completion tokens of all calls together and `deadline_s` the
    wall-clock seconds from the start; None is no bound. `stop="first"` cancels the siblings of an
    accepted node, `"level"` awaits them and takes the best.

    With `max_depth` there is one tree of that depth, and a budget that is larger than the tree is not spent: breadth
    first by the defaults ends at 3 + 6 + 6 = 15 nodes. With None, trees of the paper's depth follow each other until
    the budget ends (`restarts.py`).
    """

    budget: int = 15
    algorithm: Algorithm = "bfs"
    branch: int = 3
    beam: int = 2
    max_depth: int | None = None
    votes: int = 5
    threshold: float = 0.5
    stop: StopPolicy = "first"
    select: Selection = "greedy"
    early_vote_stop: bool = True
    max_search_tokens: int | None = None
    deadline_s: float | None = None
    seed: int = 0

    @property
    def tree_depth(self) -> int:
        """Depth of one tree."""
        return PAPER_DEPTH if self.max_depth is None else self.max_depth
