"""Sample: the actor answers each prompt several times."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from spar_core.backends.base import Backend
from spar_core.seeds import derive_seed
from spar_core.types import Sampling
from spar_training.records import PromptRecord
from spar_training.stages.base import Role


@dataclass(frozen=True, slots=True)
class Sample:
    """`responses` answers a prompt; the n-th has a seed of its own."""

    responses: int
    sampling: Sampling
    seed: int
    name: ClassVar[str] = "sample"
    role: ClassVar[Role] = "actor"

    async def work(self, item: PromptRecord, backend: Backend) -> dict[str, Any]:
        seeds = [derive_seed(self.seed, "sample", item.id, number) for number in range(self.responses)]
        async with asyncio.TaskGroup() as group:
            calls = [
                group.create_task(backend.complete(item.conversation, replace(self.sampling, seed=seed)))
                for seed in seeds
            ]
        answers = [call.result() for call in calls]
        return {
            "responses": [
                {"text": answer.text, "finish_reason": answer.finish_reason, "usage": asdict(answer.usage)}
                for answer in answers
            ]
        }
