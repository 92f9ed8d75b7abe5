"""Constrained prompts, and their split: validation differs by task and by combination of constraints."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from spar_core.types import Message
from spar_training.bootstrap.verifiers.constraints import Constraint, draw_constraints
from spar_training.data.prompts import PromptRecord
from spar_training.prompt_evolution.load import SeedPrompt

Split = Literal["train", "validation"]

# Shares of the tasks and of the combinations of two or more types that only validation has.
_VALIDATION_TASKS: Final = 0.12
_VALIDATION_COMBINATIONS: Final = 0.2
_DRAWS: Final = 20


@dataclass(frozen=True, slots=True)
class ConstrainedPrompt:
    """A task with constraints. `unseen` says that training has no prompt with this combination of types."""

    id: str
    task: SeedPrompt
    constraints: tuple[Constraint, ...]
    text: str
    unseen: bool

    def record(self) -> PromptRecord:
        checks = tuple({"id": one.id, "kwargs": dict(one.check.kwargs)} for one in self.constraints)
        return PromptRecord(self.id, (Message("user", self.text),), checks)


def split_of(task: SeedPrompt) -> Split:
    """Which split a task belongs to, whatever other tasks there are."""
    return "validation" if _share(task.text) < _VALIDATION_TASKS else "train"


def is_reserved(constraints: Sequence[Constraint]) -> bool:
    """Whether a combination of two or more types is validation's alone."""
    ids = sorted({constraint.id for constraint in constraints})
    return len(ids) > 1 and _share("+".join(ids)) < _VALIDATION_COMBINATIONS


def constrained_prompts(
    tasks: Sequence[SeedPrompt], split: Split, *, each: int, seed: int
) -> Iterator[ConstrainedPrompt]:
    """`each` prompts for every task of `split`, with different constraints.

    Half of validation's prompts with several constraints have combinations that training never sees.
    """
    for task in tasks:
        if split_of(task) != split:
            continue
        for number in range(each):
            rng = random.Random(f"{seed}/{task.id}/{number}")
            drawn = _draw(task.text, rng, reserved=split == "validation" and number % 2 == 0, split=split)
            if drawn is not None:
                yield ConstrainedPrompt(
                    f"{task.id}/{number}", task, drawn, _worded(task.text, drawn, rng), is_reserved(drawn)
                )


def _draw(task: str, rng: random.Random, *, reserved: bool, split: Split) -> tuple[Constraint, ...] | None:
    drawn: tuple[Constraint, ...] | None = None
    for _ in range(_DRAWS):
        drawn = draw_constraints(task, rng)
        if len(drawn) == 1 or is_reserved(drawn) is reserved:
            return drawn
    # Training must not see a reserved one; validation may use any.
    return drawn if split == "validation" else None


def _worded(task: str, constraints: Sequence[Constraint], rng: random.Random) -> str:
    """The task and what is asked of the answer, as people write it: behind it, on lines of its own, or before it."""
    wishes = " ".join(constraint.wording for constraint in constraints)
    # "The request above" must stand above.
    if any(constraint.id == "combination:repeat_prompt" for constraint in constraints):
        return f"{task}\n\n{wishes}"
    return rng.choices((f"{task} {wishes}", f"{task}\n\n{wishes}", f"{wishes}\n\n{task}"), (0.6, 0.25, 0.15))[0]


def _share(text: str) -> float:
    """A number in [0, 1) that belongs to the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
