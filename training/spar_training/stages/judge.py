"""Judge: the refiner votes on every response, and all votes are kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

from spar_core.backends.base import Backend
from spar_core.errors import BackendUnavailable
from spar_core.judge import Judge, Judgement
from spar_core.prompts import load_templates
from spar_core.seeds import derive_seed
from spar_core.trace import write_judgement
from spar_core.types import Sampling
from spar_training.data.prompts import PromptRecord
from spar_training.pipeline.stage import Role


@dataclass(frozen=True, slots=True)
class Sampled:
    """A prompt with its responses. An empty one, or one that was cut off, is not judged."""

    prompt: PromptRecord
    responses: tuple[str | None, ...]

    @property
    def id(self) -> str:
        return self.prompt.id


@dataclass(frozen=True, slots=True)
class JudgeResponses:
    """`votes` judgements a response; equal responses to a prompt share theirs."""

    templates: str
    votes: int
    sampling: Sampling
    seed: int
    name: ClassVar[str] = "judge"
    role: ClassVar[Role] = "refiner"

    async def work(self, item: Sampled, backend: Backend) -> dict[str, Any]:
        judge = voting(backend, self.templates, self.votes, self.sampling)
        distinct = list(dict.fromkeys(text for text in item.responses if text is not None))
        async with asyncio.TaskGroup() as group:
            tasks = {text: group.create_task(self._judged(judge, item, text, n)) for n, text in enumerate(distinct)}
        judgements = {text: _whole(task.result()) for text, task in tasks.items()}
        return {"judgements": [None if text is None else write_judgement(judgements[text]) for text in item.responses]}

    async def _judged(self, judge: Judge, item: Sampled, text: str, number: int) -> Judgement:
        seed = derive_seed(self.seed, "judge", item.id, number)
        return await judge.judge(item.prompt.conversation, text, seed=seed)


def _whole(judgement: Judgement) -> Judgement:
    # Serving does with the votes it gets; training keeps whole judgements or none.
    if failed := [vote for vote in judgement.votes if vote.error is not None]:
        raise BackendUnavailable(failed[0].error or "a vote failed", status=failed[0].status)
    return judgement


def voting(backend: Backend, templates: str, votes: int, sampling: Sampling) -> Judge:
    """A judge that asks for every vote: the non-unanimous judgements are what the refiner learns from."""
    return Judge(backend=backend, templates=load_templates(templates), votes=votes, early_stop=False, sampling=sampling)
