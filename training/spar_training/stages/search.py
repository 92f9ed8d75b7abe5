"""Search: from each negative, the tree search that serving runs, with all votes and whole levels kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from spar_core.backends.base import Backend
from spar_core.errors import BackendUnavailable
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner
from spar_core.search import Models, SearchConfig, Searcher
from spar_core.search.events import Event, Refined
from spar_core.seeds import derive_seed
from spar_core.trace import write_trace
from spar_core.types import Completion, Sampling, Usage
from spar_training.data.negatives import Negative
from spar_training.pipeline.stage import Role
from spar_training.stages.judge import voting


@dataclass(frozen=True, slots=True)
class Search:
    """`config.seed` is each negative's own, derived from `seed`."""

    templates: str
    votes: int
    judge_sampling: Sampling
    refine_sampling: Sampling
    config: SearchConfig
    seed: int
    name: ClassVar[str] = "search"
    role: ClassVar[Role] = "refiner"

    async def work(self, item: Negative, backend: Backend) -> dict[str, Any]:
        """The search's trace, and the refiner's whole replies by the path of their node, such as "0.2"."""
        replies: dict[str, str] = {}
        models = Models(
            # Never called: the search starts from the negative, and refinements are the refiner's.
            actor=backend,
            judge=voting(backend, self.templates, self.votes, self.judge_sampling),
            refiner=Refiner(backend=backend, templates=load_templates(self.templates), sampling=self.refine_sampling),
        )
        config = replace(self.config, seed=derive_seed(self.seed, "search", item.id))
        result = await Searcher(models, config).run(
            item.prompt.conversation,
            draft=Completion(item.response, "stop", Usage()),
            draft_judgement=item.judgement,
            emit=_keeping(replies),
        )
        if result.degraded:
            raise BackendUnavailable(_problem(result.tree) or "a vote failed")
        # They came in any order; the file is the same every time.
        return {"place": item.place, "trace": write_trace(result), "replies": dict(sorted(replies.items()))}


def _keeping(replies: dict[str, str]) -> Callable[[Event], None]:
    def hear(event: Event) -> None:
        if isinstance(event, Refined):
            replies[".".join(map(str, event.path))] = event.refinement.raw

    return hear


def _problem(tree: Any) -> str | None:
    return next((node.problem for node in tree if node.problem), None)
