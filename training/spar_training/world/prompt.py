"""Prompts of the world, and the split that keeps held-out constraint combinations out of training."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from spar_core.checks import Check
from spar_training.world import lexicon
from spar_training.world.constraints import CONSTRAINT_TYPES, Constraint, compatible, draw_constraint

Split = Literal["train", "validation", "held_out"]

_OPENINGS: Final = (
    "Write a short text about the {S}.",
    "Tell me about the {S}.",
    "Describe the {S} in a few sentences.",
    "Please write something about the {S}.",
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt whose `text` asks for a text about `subject` that meets `constraints`, named in that order."""

    seed: int
    subject: str
    constraints: tuple[Constraint, ...]
    text: str

    @property
    def checks(self) -> tuple[Check, ...]:
        return tuple(constraint.check for constraint in self.constraints)


def split_of(ids: Sequence[str]) -> Split:
    """Return the split of a combination of constraint types: one in eight is held out, one in eight is for validation.

    A single constraint type always belongs to training: held-out prompts have two to four.
    """
    if len(ids) == 1:
        return "train"
    digest = hashlib.sha256("+".join(sorted(ids)).encode()).digest()
    return {0: "held_out", 1: "validation"}.get(digest[0] % 8, "train")  # type: ignore[return-value]


def draw_prompt(split: Split, seed: int) -> Prompt:
    """Draw the prompt of a seed. Its constraint types are compatible; their parameters may still conflict."""
    rng = random.Random(seed)
    ids = _draw_ids(split, rng)
    subject = rng.choice(lexicon.SUBJECTS)
    constraints = tuple(draw_constraint(one, rng) for one in ids)
    opening = rng.choice(_OPENINGS).format(S=subject)
    text = " ".join([opening, *(constraint.phrase for constraint in constraints)])
    return Prompt(seed, subject, constraints, text)


def _draw_ids(split: Split, rng: random.Random) -> list[str]:
    sizes = (1, 2, 3, 4) if split == "train" else (2, 3, 4)
    while True:
        ids = rng.sample(sorted(CONSTRAINT_TYPES), rng.choice(sizes))
        if compatible(frozenset(ids)) and split_of(ids) == split:
            return ids
