"""Search over answers: five strategies over one shared expansion step."""

from spar_core.search.config import PAPER_DEPTH, SearchConfig
from spar_core.search.engine import STRATEGIES, run_search
from spar_core.search.multi import Answers, choice_sampling, run_several
from spar_core.search.result import SearchResult, StopReason
from spar_core.search.tree import Node, Tree

__all__ = [
    "PAPER_DEPTH",
    "STRATEGIES",
    "Answers",
    "Node",
    "SearchConfig",
    "SearchResult",
    "StopReason",
    "Tree",
    "choice_sampling",
    "run_search",
    "run_several",
]
