"""The settings of a search, as one frozen value."""

from __future__ import annotations

from typing import Final, Literal

from spar_core.frozen import frozen

StopPolicy = Literal["first", "level"]
Selection = Literal["greedy", "sample"]

PAPER_DEPTH: Final = 3


@frozen
class SearchConfig:
    """How to search. Defaults are the paper's (arXiv 2412.11605), but `stop` and `early_vote_stop` save compute.

    `budget` is the most nodes that may be expanded, failed refinements included; 0 returns the draft without judging
    it. `max_search_tokens` bounds the completion tokens of all calls together and `deadline_s` the wall-clock seconds
    from the start; None is no bound. `stop="first"` cancels the siblings of an accepted node, `"level"` awaits them and
    takes the best. `algorithm` is a name in `spar_core.search.STRATEGIES`.

    With `max_depth` there is one tree of that depth, and a larger budget is not spent: breadth first ends at
    3 + 6 + 6 = 15 nodes by default. With None, trees of the paper's depth follow one another until the budget is used
    up (`strategies/restarts.py`).
    """

    budget: int = 15
    algorithm: str = "bfs"
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
        """The depth of one tree."""
        return PAPER_DEPTH if self.max_depth is None else self.max_depth
