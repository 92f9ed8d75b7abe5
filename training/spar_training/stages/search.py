"""Search: refine each negative by the tree search that serving runs, with all votes and complete levels recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from spar_training.stages.judge import Judging
from spar_training.storage.files import Row


@dataclass(frozen=True, slots=True)
class Search:
    """Searches from each negative; its seed is derived from `seed`."""

    judging: Judging
    refine_sampling: Sampling
    config: SearchConfig
    seed: int
    name: ClassVar[str] = "search"
    role: ClassVar[Role] = "refiner"
    key: ClassVar[str] = "search"
    file: ClassVar[str] = "searches.jsonl"

    async def work(self, item: Negative, backend: Backend) -> dict[str, Any]:
        """The trace of the search, and the refiner's complete replies by the path of their node, such as "0.2"."""
        replies: dict[str, str] = {}
        models = Models(
            # Never called: the negative is the draft, and the refiner refines.
            actor=backend,
            judge=self.judging.by(backend),
            refiner=Refiner(
                backend=backend, templates=load_templates(self.judging.templates), sampling=self.refine_sampling
            ),
        )
        config = replace(self.config, seed=derive_seed(self.seed, "search", item.id))
        result = await Searcher(models, config).run(
            item.prompt.conversation,
            draft=Completion(item.response, "stop", Usage()),
            draft_judgement=item.judgement,
            emit=_recorder(replies),
        )
        if result.degraded:
            raise BackendUnavailable(_first_problem(result.tree) or "a vote failed")
        # Sorted, since replies arrive in any order.
        return {"place": item.place, "trace": write_trace(result), "replies": dict(sorted(replies.items()))}

    def counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Searches that found an accepted refinement, nodes, and failed refinements."""
        return {
            "accepted": sum(row["trace"]["accepted"] for row in rows),
            "nodes": sum(len(row["trace"]["nodes"]) - 1 for row in rows),
            "failed_refinements": sum(node["outcome"] == "failed" for row in rows for node in row["trace"]["nodes"]),
        }

    def problem(self, rows: Sequence[Row]) -> str | None:
        """None: a refiner whose refinements are all rejected still yields judgements."""
        return None

    def verdicts(self, row: Row) -> Sequence[bool]:
        """Whether the search found an accepted refinement."""
        return [row["trace"]["accepted"]]


def _recorder(replies: dict[str, str]) -> Callable[[Event], None]:
    def on_event(event: Event) -> None:
        if isinstance(event, Refined):
            replies[".".join(map(str, event.path))] = event.refinement.raw

    return on_event


def _first_problem(tree: Any) -> str | None:
    return next((node.problem for node in tree if node.problem), None)
