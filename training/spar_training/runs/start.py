"""The inputs of a run: the two models it starts from, and its prompts."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from spar_core.errors import ConfigError
from spar_core.model_folder import TINY_PAIR, shipped_pair
from spar_training.pipeline.stage import Role
from spar_training.runs.recipe import Recipe


@dataclass(frozen=True, slots=True)
class ModelPair:
    """The folders of an actor and a refiner."""

    actor: Path
    refiner: Path

    def of(self, role: Role) -> Path:
        return self.actor if role == "actor" else self.refiner


def named_model(model: str, role: Role) -> Path:
    """The folder of a role's model: that of the pair `tiny` or `bootstrap`, or else the folder `model` itself.

    `shipped` is another name of the tiny pair.
    """
    if model in (str(TINY_PAIR), "shipped"):
        return shipped_pair() / role
    if model == "bootstrap":
        return Path(str(files("spar_training"))) / "models" / "bootstrap" / role
    return Path(model)


def start_pair(recipe: Recipe) -> ModelPair:
    """The pair that the first iteration starts from.

    Raises:
        ConfigError: a folder of the recipe holds no model.
    """
    start = recipe.start
    pair = ModelPair(named_model(start.actor, "actor"), named_model(start.refiner, "refiner"))
    for role in ("actor", "refiner"):
        if (pair.of(role) / "adapter_config.json").is_file():
            raise ConfigError(
                f"start.{role}: {pair.of(role)} is an adapter, and a run starts from whole models; merge it first: "
                f"spar train merge {pair.of(role)} --out FOLDER, then --set start.{role}=FOLDER"
            )
        if not (pair.of(role) / "config.json").is_file():
            raise ConfigError(
                f"start.{role}: no model in {pair.of(role)} (config.json is missing); put one there, or give its "
                f"folder: --set start.{role}=FOLDER"
            )
    return pair


def prompts_file(recipe: Recipe) -> Path | None:
    """The file of the recipe's prompts; None if the world generates them.

    Raises:
        ConfigError: the file does not exist.
    """
    file = recipe.prompts.file
    if file is not None and not file.is_file():
        raise ConfigError(f"prompts.file: no such file: {file}; give another: --set prompts.file=FILE")
    return file
