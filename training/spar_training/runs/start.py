"""What a run starts from: the two models of the recipe, and its prompts."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from spar_core.errors import ConfigError
from spar_core.model_folder import shipped_pair
from spar_training.pipeline.stage import Role
from spar_training.runs.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Pair:
    """The two models' folders."""

    actor: Path
    refiner: Path

    def of(self, role: Role) -> Path:
        return self.actor if role == "actor" else self.refiner


def named_model(model: str, role: Role) -> Path:
    """The folder of the `shipped` pair's model of a role, of the `bootstrap`'s, or the one that is given."""
    if model == "shipped":
        return shipped_pair() / role
    if model == "bootstrap":
        return Path(str(files("spar_training"))) / "models" / "bootstrap" / role
    return Path(model)


def start_pair(recipe: Recipe) -> Pair:
    """The pair that the first iteration starts from.

    Raises:
        ConfigError: there is no model where the recipe says.
    """
    start = recipe.start
    pair = Pair(named_model(start.actor, "actor"), named_model(start.refiner, "refiner"))
    for role in ("actor", "refiner"):
        if not (pair.of(role) / "config.json").is_file():
            raise ConfigError(
                f"start.{role}: no model in {pair.of(role)} (config.json is missing); put one there, or say where one "
                f"is: --set start.{role}=FOLDER"
            )
    return pair


def prompts_file(recipe: Recipe) -> Path | None:
    """The file of the recipe's prompts; None where the world makes them.

    Raises:
        ConfigError: it is not there.
    """
    file = recipe.prompts.file
    if file is not None and not file.is_file():
        raise ConfigError(f"prompts.file: no such file: {file}; say where one is: --set prompts.file=FILE")
    return file
