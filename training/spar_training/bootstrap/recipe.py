"""A bootstrap recipe: the model's shape and its training stages, read from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from spar_core.validation import StrictModel
from spar_training.storage.yaml_config import load_config

_SHIPPED: Final = Path(__file__).parents[1] / "recipes" / "bootstrap"
TaskName = Literal["copy", "actor", "refiner", "own"]


class Shape(StrictModel):
    """The shape of a Llama model. `context` is its context window in tokens."""

    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    mlp: int = Field(gt=0)
    context: int = Field(gt=0)


class Stage(StrictModel):
    """A training stage.

    It starts from the weights of the stage `start`, or from random weights if that is None. `mix` has each task's share
    of the tokens; it is reached linearly from `mix_at_start` over `ramp_tokens`. The learning rate rises to `lr` over
    `warmup_tokens`, and falls linearly to zero over the fraction `decay` at the end.
    """

    name: str
    start: str | None = None
    tokens: int = Field(gt=0)
    batch_tokens: int = Field(default=8192, gt=0)
    lr: float = Field(gt=0)
    warmup_tokens: int = 0
    decay: float = Field(default=0.0, ge=0, le=1)
    mix: Mapping[TaskName, float]
    mix_at_start: Mapping[TaskName, float] | None = None
    ramp_tokens: int = 0

    def shares(self, tokens: int) -> dict[TaskName, float]:
        """Each task's share of a batch after `tokens`; they sum to one."""
        first = self.mix_at_start or self.mix
        at = min(1.0, tokens / self.ramp_tokens) if self.ramp_tokens else 1.0
        raw = {task: (1 - at) * first.get(task, 0.0) + at * self.mix.get(task, 0.0) for task in {**first, **self.mix}}
        total = sum(raw.values())
        return {task: share / total for task, share in sorted(raw.items())}

    def lr_scale(self, tokens: int) -> float:
        """The learning rate after `tokens`, as a fraction of `lr`."""
        warm = min(1.0, (tokens + self.batch_tokens) / self.warmup_tokens) if self.warmup_tokens else 1.0
        left = (self.tokens - tokens) / (self.decay * self.tokens) if self.decay else 1.0
        return warm * max(0.0, min(1.0, left))


class OwnAnswers(StrictModel):
    """The actor's own answers, which are collected before the first stage with `own` in its mix."""

    prompts: int = Field(gt=0)
    temperature: float = Field(gt=0)


class Recipe(StrictModel):
    """All settings of `spar train bootstrap` that determine the pair."""

    name: str
    seed: int
    templates: str
    shape: Shape
    tokenizer_examples: int = Field(gt=0)
    tokenizer_min_count: int = Field(gt=0)
    stages: tuple[Stage, ...]
    own_answers: OwnAnswers | None = None
    actor: str
    refiner: str

    @model_validator(mode="after")
    def _stages_exist(self) -> Recipe:
        seen: set[str] = set()
        for stage in self.stages:
            if stage.name in seen:
                raise ValueError(f"two stages are called {stage.name!r}; give each a name of its own")
            if stage.start is not None and stage.start not in seen:
                raise ValueError(f"stage {stage.name!r} starts from {stage.start!r}, which no earlier stage makes")
            if "own" in stage.mix and (self.own_answers is None or self.actor not in seen):
                raise ValueError(
                    f"stage {stage.name!r} mixes in own answers: it needs own_answers and comes after the actor"
                )
            seen.add(stage.name)
        for key in ("actor", "refiner"):
            if getattr(self, key) not in seen:
                raise ValueError(f"{key}: no stage is called {getattr(self, key)!r}; there are {sorted(seen)}")
        return self

    def by_key(self) -> dict[str, Any]:
        """The recipe as flat keys, `stages.NAME.KEY` for those of a stage, so that a difference can be named."""
        values = self.model_dump(mode="json")
        stages = {f"stages.{stage['name']}.{key}": stage[key] for stage in values.pop("stages") for key in stage}
        return {**values, **stages}


def load_recipe(name_or_file: str) -> Recipe:
    """A shipped recipe by name, or one from a YAML file.

    Raises:
        ConfigError: there is no such recipe, it is not YAML, or a key or a value is invalid; names it.
    """
    return load_config(Recipe, name_or_file, folder=_SHIPPED, what="recipe")[1]
