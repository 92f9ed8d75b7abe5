"""A self-play study, read from YAML: a recipe, its variants (the arms), and the seeds of each.

    name: small-pair
    recipe: small-pair
    seeds: [1, 2, 3]
    reference: refined
    arms:
      refined: {label: SPaR}
      sampled: {label: no refinement, equal_pairs_to: refined, recipe: {method: {kind: sampled}}}

`recipe` is the name of a shipped recipe or a file beside the study's. An arm's `recipe` holds the keys that it changes;
mappings are merged. With `equal_pairs_to`, an arm trains its actor on at most as many pairs as the named arm had in the
same iteration with the same seed, or, if it has a single iteration, as the named arm had in total. It is then compared
with that arm; other arms are compared with the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from spar_core.errors import ConfigError
from spar_core.validation import StrictModel, format_validation_error
from spar_training.runs.recipe import Recipe, load_recipe, shipped_recipes, with_current_keys
from spar_training.storage.yaml_config import load_config

_SHIPPED = Path(__file__).parents[2] / "recipes" / "studies" / "self_play"


class _ArmFile(StrictModel):
    label: str = ""
    equal_pairs_to: str | None = None
    paper: str = ""
    recipe: Mapping[str, Any] = {}


class _StudyFile(StrictModel):
    name: str = Field(pattern=r"^[\w.-]+$")
    recipe: str
    seeds: tuple[int, ...] = Field(min_length=1)
    reference: str
    arms: Mapping[str, _ArmFile | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A variant of the recipe.

    `recipe` has the base recipe's seed; `paper` is the paper's figure for the variant, as text for the report.
    """

    name: str
    label: str
    recipe: Recipe
    equal_pairs_to: str | None = None
    paper: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study; `arms` are in the order in which they run, and the first is the reference."""

    name: str
    # The base recipe's name.
    base: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]

    @property
    def reference(self) -> Arm:
        return self.arms[0]

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)

    def base_of(self, arm: Arm) -> Arm:
        """Return the arm that this one is compared with: the one named by `equal_pairs_to`, or the reference."""
        return self.arm(arm.equal_pairs_to) if arm.equal_pairs_to else self.reference


def run_folder(out: Path, arm: Arm, seed: int) -> Path:
    """Return the folder of an arm's run with a seed."""
    return out / f"{arm.name}-{seed}"


def load_study(name_or_file: str) -> Study:
    """Load a shipped study by name, or one from a YAML file.

    Raises:
        ConfigError: there is no such study, it is not YAML, or a key or a value is wrong; names it.
    """
    file, read = load_config(_StudyFile, name_or_file, folder=_SHIPPED, what="study")
    return _study(file, read)


def _study(file: Path, read: _StudyFile) -> Study:
    base = load_recipe(_locate_recipe(file, read.recipe))
    if read.reference not in read.arms:
        raise ConfigError(f"{file}: reference: {read.reference} is not one of the arms {', '.join(read.arms)}")
    if len(set(read.seeds)) < len(read.seeds):
        raise ConfigError(f"{file}: seeds: must not contain a seed twice")
    order = sorted(read.arms, key=lambda name: name != read.reference)
    arms = tuple(_arm(file, name, read.arms[name] or _ArmFile(), base) for name in order)
    study = Study(name=read.name, base=base.name, arms=arms, seeds=read.seeds)
    for index, arm in enumerate(arms):
        _check_equal_pairs(file, arm, {before.name: before for before in arms[:index]})
    return study


def _arm(file: Path, name: str, read: _ArmFile, base: Recipe) -> Arm:
    try:
        changes = with_current_keys({**read.recipe, "name": f"{base.name}-{name}"})
        recipe = Recipe.model_validate(_merge(base.model_dump(), changes))
    except ValidationError as error:
        raise ConfigError(
            f"{file}: arms.{name}.recipe: {format_validation_error(error, whole='recipe', model=Recipe)}"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{file}: arms.{name}.recipe: {error}") from error
    if "seed" in read.recipe:
        raise ConfigError(f"{file}: arms.{name}.recipe.seed: all arms use the study's seeds; remove the key")
    if recipe.evaluation.benchmark == "none":
        raise ConfigError(f"{file}: arms.{name}: evaluation.benchmark is none, so there is nothing to compare")
    return Arm(name=name, label=read.label or name, recipe=recipe, equal_pairs_to=read.equal_pairs_to, paper=read.paper)


def _check_equal_pairs(file: Path, arm: Arm, before: Mapping[str, Arm]) -> None:
    if arm.equal_pairs_to is None:
        return
    where = f"{file}: arms.{arm.name}.equal_pairs_to: {arm.equal_pairs_to}"
    if arm.equal_pairs_to not in before:
        raise ConfigError(f"{where} must be an arm that runs earlier (one of {', '.join(before) or 'none'})")
    other = before[arm.equal_pairs_to].recipe.iterations
    if arm.recipe.iterations not in (1, other):
        raise ConfigError(f"{where} has {other} iterations, so this arm can have {other} or 1")


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `changes` into `base`, recursively."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        # The settings of one kind of method are unknown to another.
        if isinstance(old, Mapping) and isinstance(value, Mapping) and (key != "method" or "kind" not in value):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _locate_recipe(file: Path, recipe: str) -> str:
    return recipe if recipe in shipped_recipes() else str(file.parent / recipe)
