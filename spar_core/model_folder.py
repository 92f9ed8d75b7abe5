"""What a model in a folder is, whatever the folder is called: the SHA-256 of its weights, in hexadecimal."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spar_core.errors import ConfigError
from spar_core.validation import format_validation_error

_BLOCK: Final = 1 << 22


def weights_sha256(folder: Path) -> str:
    """Of the weight files' names and bytes, in the order of their names; that of nothing where there are none."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def shipped_pair() -> Path:
    """Its folder, with `actor/` and `refiner/` in it."""
    return Path(str(files("spar_core"))) / "models"


# Of `lineage.json`, which also tells of paths and data: what anybody may know.
_TOLD: Final = ("name", "sha256", "seed", "iteration")


def lineage_of(folder: Path) -> dict[str, Any]:
    """`{"sha256", "recipe"}`, as a training's `lineage.json` gives a parent's; no recipe where none is told."""
    told: dict[str, Any] = {"sha256": weights_sha256(folder)}
    recipe = _recipe(folder / "lineage.json")
    return {**told, "recipe": {key: recipe[key] for key in _TOLD if key in recipe}} if recipe else told


def _recipe(file: Path) -> dict[str, Any] | None:
    try:
        lineage = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Serving needs no lineage: a damaged one is as good as none.
        return None
    recipe = lineage.get("recipe") if isinstance(lineage, dict) else None
    return recipe if isinstance(recipe, dict) else None


class _PairFile(BaseModel):
    """`pair.json`: the pair's name, and the template set that its refiner was trained with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(default=None, min_length=1)
    templates: str = Field(default="default", min_length=1)
    max_tokens: int | None = Field(default=None, ge=1, description="of any one call")


@dataclass(frozen=True, slots=True)
class PairFolder:
    """Models for the embedded engine, the same folder twice where one is both.

    The lengths are the most tokens of one call where nothing else is said.
    """

    actor: Path
    refiner: Path
    name: str
    templates: str
    answer_tokens: int | None
    judge_tokens: int
    refine_tokens: int


def load_folder(folder: Path) -> PairFolder:
    """Look at a folder; no model is loaded yet.

    Raises:
        ConfigError: a model is missing in it, or its `pair.json` is wrong.
    """
    alone = (folder / "config.json").is_file()
    actor, refiner = (folder, folder) if alone else (folder / "actor", folder / "refiner")
    for model in (actor, refiner):
        if not (model / "config.json").is_file():
            raise ConfigError(f"pair: {model} holds no model; the folder needs actor/ and refiner/, or to be a model")
    said = _PairFile()
    file = folder / "pair.json"
    if file.exists():
        try:
            said = _PairFile.model_validate_json(file.read_bytes())
        except ValidationError as error:
            raise ConfigError(f"{file}: {format_validation_error(error, whole='it', model=_PairFile)}") from error
    return PairFolder(
        actor=actor,
        refiner=refiner,
        name=said.name or folder.resolve().name,
        templates=said.templates,
        answer_tokens=said.max_tokens,
        judge_tokens=said.max_tokens or 2048,
        refine_tokens=said.max_tokens or 3072,
    )
