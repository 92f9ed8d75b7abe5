"""The taxonomy of constraints that are added to prompts, and the choice among its groups."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

Family = Literal["format", "content", "general"]


class Group(BaseModel):
    """A group of constraints: its description and a few examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    family: Family
    description: str
    examples: tuple[str, ...] = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """The main group and the other groups, all different."""

    main: Group
    others: tuple[Group, ...]


def load_taxonomy() -> tuple[Group, ...]:
    """Load the 14 groups that the package ships."""
    text = (files("spar_training.prompt_evolution") / "taxonomy.yaml").read_text(encoding="utf-8")
    return _File.model_validate(yaml.safe_load(text)).groups


def choose(groups: Sequence[Group], seed: int) -> Choice:
    """Draw the main group uniformly, then one to three others by their weights."""
    rng = random.Random(seed)
    left = list(groups)
    main = left.pop(rng.randrange(len(left)))
    others = []
    for _ in range(rng.randint(1, 3)):
        (other,) = rng.choices(left, weights=[group.weight for group in left])
        left.remove(other)
        others.append(other)
    return Choice(main, tuple(others))
