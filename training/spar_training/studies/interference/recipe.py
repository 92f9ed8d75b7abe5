"""An experiment's recipe: everything that decides its result, read from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, PositiveInt, field_validator

from spar_core.types import Sampling
from spar_core.validation import StrictModel
from spar_training.storage.yaml_config import load_config
from spar_training.world.prompt import Split

_SHIPPED: Final = Path(__file__).parents[2] / "recipes" / "studies" / "interference"
TaskName = Literal["letters", "story"]


class SamplingSettings(StrictModel):
    """How answers are sampled, the rejected ones as well as those that are measured."""

    temperature: float = Field(default=0.9, ge=0, le=2)
    top_p: float = Field(default=0.9, gt=0, le=1)
    max_tokens: int = Field(gt=0)

    def sampling(self, seed: int) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens, seed=seed)


class StartSettings(StrictModel):
    """The start model: the recipe's model after a few steps on `rows` right answers. `job` are a trainer's keys."""

    rows: int = Field(gt=0)
    job: Mapping[str, Any]


class PreferenceSettings(StrictModel):
    """DPO from the start model, for both arms alike.

    The start answers each of `prompts` training prompts `tries` times; each of `pairs` is of another of the
    samples that were wrong. After each of `steps`, the last of which ends the training, the model is measured.
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
            raise ValueError("must grow from one to the next")
        return steps


class TaskSettings(StrictModel):
    """One task's model and pairs."""

    sampling: SamplingSettings
    start: StartSettings
    preference: PreferenceSettings


class EvaluationSettings(StrictModel):
    """`prompts` of the split, each answered `samples` times."""

    split: Split = "held_out"
    prompts: int = Field(gt=0)
    samples: int = Field(gt=0)


class Experiment(StrictModel):
    """`model` is a folder, or `bootstrap` or `shipped`: that pair's actor.

    Each arm is trained once for each of `seeds`.
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    model: str = "bootstrap"
    seed: int = 0
    seeds: int = Field(default=3, gt=0)
    tasks: Mapping[TaskName, TaskSettings] = Field(min_length=1)
    evaluation: EvaluationSettings


def load_experiment(name_or_file: str) -> Experiment:
    """A shipped experiment by name, or one from a YAML file.

    Raises:
        ConfigError: there is none, it is not YAML, or a key or a value is wrong; names it.
    """
    return load_config(Experiment, name_or_file, folder=_SHIPPED, what="experiment")[1]
