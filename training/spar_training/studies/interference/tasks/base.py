"""The interface of a synthetic task: prompts, right answers, measures, and two ways to correct a wrong answer.

A pair's rejected answer is one of the start model's own. Its refined chosen answer differs from it only in what was
wrong; its interfering chosen answer is equally right, but also differs in something that the prompt does not ask for.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from spar_core.types import Message
from spar_training.world.prompt import Split

Arm = Literal["refined", "interfering"]
ARMS: Final[tuple[Arm, ...]] = ("refined", "interfering")


@dataclass(frozen=True, slots=True)
class TaskPrompt:
    """A prompt with the `parameters` that the task drew for it."""

    id: str
    text: str
    parameters: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def conversation(self) -> tuple[Message, ...]:
        return (Message("user", self.text),)


class Task(Protocol):
    """A synthetic task. All randomness comes from the generators passed in."""

    @property
    def name(self) -> str: ...

    @property
    def measures(self) -> Sequence[str]:
        """The names of the measures; the last one is that an answer satisfies the prompt completely."""
        ...

    def prompts(self, split: Split, count: int, rng: random.Random) -> list[TaskPrompt]:
        """Draw up to `count` different prompts of a split; no prompt is in two splits."""
        ...

    def answer(self, prompt: TaskPrompt, rng: random.Random) -> str:
        """Write a right answer for the start model to learn."""
        ...

    def measure(self, prompt: TaskPrompt, text: str) -> dict[str, bool]:
        """Measure an answer; the keys are the names in `measures`."""
        ...

    def rejectable(self, prompt: TaskPrompt, text: str) -> bool:
        """Whether an answer is wrong in a way that can be the rejected side of a pair."""
        ...

    def refined(self, prompt: TaskPrompt, rejected: str, rng: random.Random) -> str:
        """Correct the rejected answer and leave the rest of it unchanged."""
        ...

    def interfering(self, prompt: TaskPrompt, rejected: str, rng: random.Random) -> str:
        """Write an answer as right as the refined one that differs in something that the prompt does not ask for."""
        ...


def split_of(key: str) -> Split:
    """Return the split of a prompt by its key: one in four is held out, one in four is for validation."""
    digest = hashlib.sha256(key.encode()).digest()
    return {0: "held_out", 1: "validation"}.get(digest[0] % 4, "train")  # type: ignore[return-value]
