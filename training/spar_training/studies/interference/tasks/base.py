"""What a synthetic task is: prompts, right answers, what is wrong with a wrong one, and two ways to mend it.

A pair's rejected answer is one that the start model gave itself. Its refined chosen answer differs from it only in what
was wrong; its interfering chosen answer is as right, and differs in something that was never asked for.
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
class Asked:
    """One prompt; `parameters` are what a task drew for it."""

    id: str
    text: str
    parameters: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def conversation(self) -> tuple[Message, ...]:
        return (Message("user", self.text),)


class Task(Protocol):
    """One synthetic task. All that is drawn comes from the generator that is given."""

    @property
    def name(self) -> str: ...

    @property
    def measures(self) -> Sequence[str]:
        """The names of what is measured; the last is that an answer is right in every respect that was asked for."""
        ...

    def prompts(self, split: Split, count: int, rng: random.Random) -> list[Asked]:
        """Different prompts of a split, at most `count`; no prompt is in two splits."""
        ...

    def answer(self, asked: Asked, rng: random.Random) -> str:
        """A right answer, as the start model is taught them."""
        ...

    def measure(self, asked: Asked, text: str) -> dict[str, bool]:
        """What is true of an answer, by the names of `measures`."""
        ...

    def rejectable(self, asked: Asked, text: str) -> bool:
        """Whether a wrong answer can be the rejected one of a pair."""
        ...

    def refined(self, asked: Asked, rejected: str, rng: random.Random) -> str:
        """The rejected answer, mended and otherwise as it was."""
        ...

    def interfering(self, asked: Asked, rejected: str, rng: random.Random) -> str:
        """An answer as right as the refined one that differs in what was not asked for."""
        ...


def split_of(key: str) -> Split:
    """The split that owns what is drawn: one in four is held out, one in four validates."""
    digest = hashlib.sha256(key.encode()).digest()
    return {0: "held_out", 1: "validation"}.get(digest[0] % 4, "train")  # type: ignore[return-value]
