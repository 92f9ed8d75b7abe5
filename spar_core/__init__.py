"""SPaR search as a library: judge, refine and search over model answers.

    import spar_core as spar

    backend = spar.backends.OpenAIBackend(base_url="http://127.0.0.1:8000/v1", model="model")
    searcher = spar.Searcher.from_backends(actor=backend, refiner=backend)
    result = await searcher.run([spar.Message("user", "Write a haiku about rivers.")])

`examples/search.py` is a whole program. Importing this loads neither a server nor a model library; a name loads its
module when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spar_core import backends as backends
from spar_core.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from spar_core.checklist import ChecklistJudge as ChecklistJudge
    from spar_core.checklist import ChecklistJudgement as ChecklistJudgement
    from spar_core.checklist import ModelExtractor as ModelExtractor
    from spar_core.checklist import RuleExtractor as RuleExtractor
    from spar_core.checks import Check as Check
    from spar_core.checks import Finding as Finding
    from spar_core.checks import FunctionCheck as FunctionCheck
    from spar_core.checks import build_check as build_check
    from spar_core.errors import BackendError as BackendError
    from spar_core.errors import SparError as SparError
    from spar_core.judge import CheckJudge as CheckJudge
    from spar_core.judge import Judge as Judge
    from spar_core.judge import Judgement as Judgement
    from spar_core.judge import Vote as Vote
    from spar_core.prompts import Templates as Templates
    from spar_core.prompts import load_templates as load_templates
    from spar_core.refiner import Refinement as Refinement
    from spar_core.refiner import Refiner as Refiner
    from spar_core.search import Answers as Answers
    from spar_core.search import Models as Models
    from spar_core.search import Node as Node
    from spar_core.search import SearchConfig as SearchConfig
    from spar_core.search import Searcher as Searcher
    from spar_core.search import SearchResult as SearchResult
    from spar_core.search import Tree as Tree
    from spar_core.trace import write_trace as write_trace
    from spar_core.types import Completion as Completion
    from spar_core.types import Message as Message
    from spar_core.types import Sampling as Sampling
    from spar_core.types import Usage as Usage

__getattr__, __all__ = lazy_exports(
    __name__,
    {
        "spar_core.checklist": ("ChecklistJudge", "ChecklistJudgement", "ModelExtractor", "RuleExtractor"),
        "spar_core.checks": ("Check", "Finding", "FunctionCheck", "build_check"),
        "spar_core.errors": ("BackendError", "SparError"),
        "spar_core.judge": ("CheckJudge", "Judge", "Judgement", "Vote"),
        "spar_core.prompts": ("Templates", "load_templates"),
        "spar_core.refiner": ("Refinement", "Refiner"),
        "spar_core.search": ("Answers", "Models", "Node", "SearchConfig", "SearchResult", "Searcher", "Tree"),
        "spar_core.trace": ("write_trace",),
        "spar_core.types": ("Completion", "Message", "Sampling", "Usage"),
    },
)
__all__ += ["backends"]
