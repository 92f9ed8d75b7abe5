"""Judge: the refiner votes on every response, or code decides what its checklist lets it; all votes are recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from spar_core.backends.base import Backend
from spar_core.checklist import ChecklistJudge
from spar_core.errors import BackendUnavailable
from spar_core.judge import Judge, Judgement, JudgeName
from spar_core.prompts import load_templates
from spar_core.seeds import derive_seed
from spar_core.trace import read_judgement, write_judgement
from spar_core.types import Sampling
from spar_training.data.prompts import PromptRecord
from spar_training.pipeline.stage import Role
from spar_training.stages.validity import unparseable_votes_error
from spar_training.storage.files import Row


@dataclass(frozen=True, slots=True)
class SampledItem:
    """A prompt with its responses; None stands for one that is empty or cut off and not judged."""

    prompt: PromptRecord
    responses: tuple[str | None, ...]

    @property
    def id(self) -> str:
        return self.prompt.id


@dataclass(frozen=True, slots=True)
class Judging:
    """How a run judges: `judge` is SPaR's holistic judge, or a checklist whose items code verifies where it can."""

    judge: JudgeName
    templates: str
    votes: int
    sampling: Sampling

    def by(self, backend: Backend) -> Judge | ChecklistJudge:
        """A judge that never stops early: the refiner learns from judgements that were not unanimous."""
        kind = ChecklistJudge if self.judge == "checklist" else Judge
        templates = load_templates(self.templates)
        return kind(backend=backend, templates=templates, votes=self.votes, early_stop=False, sampling=self.sampling)


@dataclass(frozen=True, slots=True)
class JudgeResponses:
    """Judges each response; equal responses to a prompt share their judgement."""

    judging: Judging
    seed: int
    name: ClassVar[str] = "judge"
    role: ClassVar[Role] = "refiner"
    key: ClassVar[str] = "judge"
    file: ClassVar[str] = "judgements.jsonl"

    async def work(self, item: SampledItem, backend: Backend) -> dict[str, Any]:
        """A judgement for each response, None where there is nothing to judge."""
        judge = self.judging.by(backend)
        distinct = list(dict.fromkeys(text for text in item.responses if text is not None))
        async with asyncio.TaskGroup() as group:
            tasks = {text: group.create_task(self._judge(judge, item, text, n)) for n, text in enumerate(distinct)}
        judgements = {text: _complete(task.result()) for text, task in tasks.items()}
        return {"judgements": [None if text is None else write_judgement(judgements[text]) for text in item.responses]}

    async def _judge(self, judge: Judge | ChecklistJudge, item: SampledItem, text: str, number: int) -> Judgement:
        seed = derive_seed(self.seed, "judge", item.id, number)
        return await judge.judge(item.prompt.conversation, text, seed=seed)

    def counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Judgements by outcome, votes and their tokens."""
        judgements = [read_judgement(data) for row in rows for data in row["judgements"] if data]
        votes = [vote for judgement in judgements for vote in judgement.votes]
        return {
            "judgements": len(judgements),
            "accepted": sum(judgement.accepted for judgement in judgements),
            "contested": sum(bool(judgement.yes and judgement.no) for judgement in judgements),
            "abstained": sum(judgement.abstained for judgement in judgements),
            "votes": len(votes),
            "votes_without_verdict": sum(vote.verdict is None for vote in votes),
            "completion_tokens": sum(vote.usage.completion_tokens for vote in votes),
        }

    def problem(self, rows: Sequence[Row]) -> str | None:
        """Set if no vote has a verdict."""
        return unparseable_votes_error(
            rows, templates=self.judging.templates, max_tokens=self.judging.sampling.max_tokens
        )

    def verdicts(self, row: Row) -> Sequence[bool]:
        """Whether each judged response was accepted."""
        return [read_judgement(data).accepted for data in row["judgements"] if data]


def _complete(judgement: Judgement) -> Judgement:
    # Serving makes do with the votes it gets; training takes complete judgements or none.
    if failed := [vote for vote in judgement.votes if vote.error is not None]:
        raise BackendUnavailable(failed[0].error or "a vote failed", status=failed[0].status)
    return judgement
