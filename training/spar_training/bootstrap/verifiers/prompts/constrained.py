"""Constrained prompts and their splits: validation has its own tasks and its own combinations of constraints."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from spar_core.types import Message
from spar_training.bootstrap.verifiers.prompts.constraints import Constraint, draw_constraints
from spar_training.data.prompts import PromptRecord
from spar_training.prompt_evolution.load import SeedPrompt

Split = Literal["train", "validation"]

# The shares of tasks, and of combinations of two or more types, that are reserved for validation.
_VALIDATION_TASKS: Final = 0.12
_VALIDATION_COMBINATIONS: Final = 0.2
_DRAWS: Final = 20


@dataclass(frozen=True, slots=True)
class ConstrainedPrompt:
    """A task with constraints; `unseen` if training has no prompt with this combination of types."""

    id: str
    task: SeedPrompt
    constraints: tuple[Constraint, ...]
    text: str
    unseen: bool

    def record(self) -> PromptRecord:
        checks = tuple({"id": one.id, "kwargs": dict(one.check.kwargs)} for one in self.constraints)
        return PromptRecord(self.id, (Message("user", self.text),), checks)


def split_of(task: SeedPrompt) -> Split:
    """The split of a task, independent of the other tasks."""
    return "validation" if _share(task.text) < _VALIDATION_TASKS else "train"


def is_reserved(constraints: Sequence[Constraint]) -> bool:
    """Whether this combination of two or more types is reserved for validation."""
    ids = sorted({constraint.id for constraint in constraints})
    return len(ids) > 1 and _share("+".join(ids)) < _VALIDATION_COMBINATIONS


def constrained_prompts(
    tasks: Sequence[SeedPrompt], split: Split, *, each: int, seed: int
) -> Iterator[ConstrainedPrompt]:
    """Yield `each` prompts with different constraints for every task of `split`.

    About half of the validation prompts with several constraints have reserved combinations.
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
    # Training never uses reserved combinations; validation may use any.
    return drawn if split == "validation" else None


def _worded(task: str, constraints: Sequence[Constraint], rng: random.Random) -> str:
    """Combine task and constraints as people do: constraints after it, in their own paragraph, or first."""
    wishes = " ".join(constraint.wording for constraint in constraints)
    # "The request above" has to be above.
    if any(constraint.id == "combination:repeat_prompt" for constraint in constraints):
        return f"{task}\n\n{wishes}"
    return rng.choices((f"{task} {wishes}", f"{task}\n\n{wishes}", f"{wishes}\n\n{task}"), (0.6, 0.25, 0.15))[0]


def _share(text: str) -> float:
    """A number in [0, 1) derived from the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48
