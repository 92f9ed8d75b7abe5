"""Sample: the actor answers each prompt several times."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from spar_core.backends.base import Backend
from spar_core.backends.choices import complete_many
from spar_core.errors import BackendError
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Sampling
from spar_training.data.prompts import PromptRecord
from spar_training.pipeline.stage import Role


@dataclass(frozen=True, slots=True)
class Sample:
    """`responses` answers a prompt: in one request where the engine takes that, else the n-th by a seed of its own."""

    responses: int
    sampling: Sampling
    seed: int
    name: ClassVar[str] = "sample"
    role: ClassVar[Role] = "actor"

    async def work(self, item: PromptRecord, backend: Backend) -> dict[str, Any]:
        seeds = [derive_seed(self.seed, "sample", item.id, number) for number in range(self.responses)]
        samplings = [replace(self.sampling, seed=seed) for seed in seeds]
        answers = [_made(answer) for answer in await complete_many(backend, item.conversation, samplings)]
        return {
            "responses": [
                {"text": answer.text, "finish_reason": answer.finish_reason, "usage": asdict(answer.usage)}
                for answer in answers
            ]
        }


def _made(answer: Completion | BackendError) -> Completion:
    if isinstance(answer, BackendError):
        raise answer
    return answer
