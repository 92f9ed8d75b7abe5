"""Sample: the actor answers each prompt several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from spar_core.backends.base import Backend
from spar_core.backends.choices import complete_many
from spar_core.errors import BackendError
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Sampling
from spar_training.data.prompts import PromptRecord
from spar_training.pipeline.stage import Role
from spar_training.stages.validity import unusable_answers_error, usable
from spar_training.storage.files import Row


@dataclass(frozen=True, slots=True)
class Sample:
    """Draws `responses` answers per prompt, in one request where the engine supports that, else one seed each.

    With `greedy`, also the answer at temperature 0, where small models repeat themselves most.
    """

    responses: int
    sampling: Sampling
    seed: int
    greedy: bool = False
    name: ClassVar[str] = "sample"
    role: ClassVar[Role] = "actor"
    key: ClassVar[str] = "sample"
    file: ClassVar[str] = "samples.jsonl"

    async def work(self, item: PromptRecord, backend: Backend) -> dict[str, Any]:
        """The prompt's responses."""
        seeds = [derive_seed(self.seed, "sample", item.id, number) for number in range(self.responses)]
        samplings = [replace(self.sampling, seed=seed) for seed in seeds]
        if self.greedy:
            samplings.append(replace(self.sampling, temperature=0.0, seed=0))
        answers = [_raise_error(answer) for answer in await complete_many(backend, item.conversation, samplings)]
        return {
            "responses": [
                {"text": answer.text, "finish_reason": answer.finish_reason, "usage": asdict(answer.usage)}
                for answer in answers
            ]
        }

    def counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Responses, how many of them are empty or cut off, and their tokens."""
        answers = [answer for row in rows for answer in row["responses"]]
        return {
            "responses": len(answers),
            "empty_or_cut_off": sum(usable(answer) is None for answer in answers),
            "completion_tokens": sum(answer["usage"]["completion_tokens"] for answer in answers),
        }

    def problem(self, rows: Sequence[Row]) -> str | None:
        """Set if no response is usable."""
        return unusable_answers_error(rows, max_tokens=self.sampling.max_tokens)

    def verdicts(self, row: Row) -> Sequence[bool]:
        """None: responses are judged later."""
        return ()


def _raise_error(answer: Completion | BackendError) -> Completion:
    if isinstance(answer, BackendError):
        raise answer
    return answer
