"""An experiment's recipe, read from YAML: all settings that its result depends on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, PositiveInt, field_validator

from spar_core.validation import StrictModel
from spar_training.runs.recipe import SamplingSettings
from spar_training.storage.yaml_config import load_config
from spar_training.world.prompt import Split

_SHIPPED: Final = Path(__file__).parents[2] / "recipes" / "studies" / "interference"
TaskName = Literal["letters", "story"]


class AnswerSettings(SamplingSettings):
    """How answers are sampled, both the rejected and the measured ones."""

    temperature: float = Field(default=0.9, ge=0, le=2)
    top_p: float = Field(default=0.9, gt=0, le=1)


class StartSettings(StrictModel):
    """The start model: the recipe's model after a few steps on `rows` right answers. `job` holds the trainer's keys."""

    rows: int = Field(gt=0)
    job: Mapping[str, Any]


class PreferenceSettings(StrictModel):
    """DPO from the start model, the same for both arms.

    The start model answers each of `prompts` training prompts `tries` times; each of the `pairs` uses a different wrong
    answer. The model is measured after each of `steps`, the last of which ends the training.
    """

    prompts: int = Field(gt=0)
    tries: int = Field(gt=0)
    pairs: int = Field(gt=0)
    steps: tuple[PositiveInt, ...] = Field(min_length=1)
    job: Mapping[str, Any]

    @field_validator("steps")
    @classmethod
    def _in_order(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if list(steps) != sorted(set(steps)):
            raise ValueError("must be in ascending order, each step once")
        return steps


class TaskSettings(StrictModel):
    """The start model and pairs of a task."""

    sampling: AnswerSettings
    start: StartSettings
    preference: PreferenceSettings


class EvaluationSettings(StrictModel):
    """The measurement: `prompts` of the split, each answered `samples` times."""

    split: Split = "held_out"
    prompts: int = Field(gt=0)
    samples: int = Field(gt=0)


class Experiment(StrictModel):
    """An experiment. `model` is a folder, or `bootstrap` or `shipped` for the actor of that pair.

    Each arm is trained once for each of `seeds`.
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    model: str = "bootstrap"
    seed: int = 0
    seeds: int = Field(default=3, gt=0)
    tasks: Mapping[TaskName, TaskSettings] = Field(min_length=1)
    evaluation: EvaluationSettings


def load_experiment(name_or_file: str) -> Experiment:
    """Load a shipped experiment by name, or one from a YAML file.

    Raises:
        ConfigError: there is no such experiment, it is not YAML, or a key or a value is wrong; names it.
    """
    return load_config(Experiment, name_or_file, folder=_SHIPPED, what="experiment")[1]
