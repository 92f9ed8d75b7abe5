"""A recipe for a pair from a base model: how much of everything `spar train bootstrap --base` makes, read from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from spar_core.types import Sampling
from spar_core.validation import StrictModel
from spar_training.storage.yaml_config import load_config

RECIPES: Final = Path(__file__).parents[2] / "recipes" / "verifiers"


class TaskCounts(StrictModel):
    """Beside the files of seed prompts: `instructions` are drawn from the base itself, `own` are written by us."""

    instructions: int = Field(ge=0)
    own: int = Field(ge=0)


class Answers(StrictModel):
    """Answers to sample: to each of `tasks` tasks one without constraints and one to its first constrained prompt."""

    tasks: int = Field(gt=0)
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(gt=0)

    def sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)


class Caps(StrictModel):
    """The most rows of each kind. To every refinement, which holds a judgement of No, comes a judgement of Yes."""

    answers: int = Field(gt=0)
    refinements: int = Field(gt=0)


class Validation(StrictModel):
    """What is measured at the end: `prompts` prompts of the validation split, and a search of `budget`."""

    prompts: int = Field(gt=0)
    budget: int = Field(ge=0)
    max_tokens: int = Field(gt=0)


class VerifierRecipe(StrictModel):
    """Everything but the base and the files of tasks that decides what comes out.

    `base` and `license` are what the cards of shipped adapters say: the base's public name, and its licence.
    `prompts_each` is how many constrained prompts a task gets, `crossed` under how many of them beside its own an
    answer is judged. `actor` and `refiner` are the keys of a training job (docs/trainers.md).
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    base: str = Field(min_length=1)
    license: str = Field(min_length=1)
    seed: int = 0
    templates: str
    in_flight: int = Field(default=32, gt=0)
    tasks: TaskCounts
    prompts_each: int = Field(gt=0)
    crossed: int = Field(ge=0)
    answers: Answers
    own_answers: Answers
    rows: Caps
    actor: Mapping[str, Any]
    refiner: Mapping[str, Any]
    validation: Validation

    def settings(self) -> dict[str, Any]:
        """What must not change while a run is unfinished."""
        return self.model_dump(mode="json", exclude={"in_flight", "base", "license"})


def load_verifier_recipe(name_or_file: str) -> VerifierRecipe:
    """A shipped recipe by name, or one from a YAML file.

    Raises:
        ConfigError: there is none, it is not YAML, or a key or a value is wrong; names it.
    """
    return load_config(VerifierRecipe, name_or_file, folder=RECIPES, what="recipe")[1]
