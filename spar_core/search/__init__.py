"""Tree search over answers: strategies over one shared expansion step, run by a `Searcher`."""

from spar_core.search.config import PAPER_DEPTH, SearchConfig
from spar_core.search.expansion import Expansion, Models
from spar_core.search.multi import Answers, choice_sampling
from spar_core.search.result import SearchResult, StopReason
from spar_core.search.searcher import Searcher
from spar_core.search.strategies import STRATEGIES, Strategy, select
from spar_core.search.tree import Node, Tree

__all__ = [
    "PAPER_DEPTH",
    "STRATEGIES",
    "Answers",
    "Expansion",
    "Models",
    "Node",
    "SearchConfig",
    "SearchResult",
    "Searcher",
    "StopReason",
    "Strategy",
    "Tree",
    "choice_sampling",
    "select",
]
