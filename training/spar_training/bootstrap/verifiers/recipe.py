"""The recipe of `spar train bootstrap --base`, read from YAML: how many tasks, answers and rows, and the trainings."""

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
    """Tasks in addition to the seed prompts: `instructions` sampled from the base, `own` built from our templates."""

    instructions: int = Field(ge=0)
    own: int = Field(ge=0)


class Answers(StrictModel):
    """Sampling of answers: for each of `tasks` tasks, one without constraints and one to its first prompt."""

    tasks: int = Field(gt=0)
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(gt=0)

    def sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)


class Caps(StrictModel):
    """The maximum number of rows. Each refinement contains a No judgement and is matched by a Yes judgement."""

    answers: int = Field(gt=0)
    refinements: int = Field(gt=0)


class Validation(StrictModel):
    """The final measurement: how many validation `prompts`, and the `budget` of the search."""

    prompts: int = Field(gt=0)
    budget: int = Field(ge=0)
    max_tokens: int = Field(gt=0)


class Publication(StrictModel):
    """Names for shipped adapters: the `name` of the pair, the public name of its `base`, and the licence of both."""

    name: str = Field(min_length=1)
    base: str = Field(min_length=1)
    license: str = Field(min_length=1)


class VerifierRecipe(StrictModel):
    """Everything that determines the result, except the base model and the seed prompts.

    A task gets `prompts_each` constrained prompts; an answer is judged under its own and up to `crossed` others of
    its task. `actor` and `refiner` hold the keys of a training job (docs/trainers.md).
    """

    name: str = Field(pattern=r"^[\w.-]+$")
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
    publication: Publication

    def settings(self) -> dict[str, Any]:
        """The settings that must stay the same when a run resumes."""
        return self.model_dump(mode="json", exclude={"in_flight", "publication"})


def load_verifier_recipe(name_or_file: str) -> VerifierRecipe:
    """Load a shipped recipe by name, or one from a YAML file.

    Raises:
        ConfigError: there is none, it is not YAML, or a key or a value is wrong; names it.
    """
    return load_config(VerifierRecipe, name_or_file, folder=RECIPES, what="recipe")[1]
