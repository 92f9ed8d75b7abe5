"""Model folders and model pairs on disk: their weights, their lineage, and their serving settings.

A pair's folder has `actor/`, `refiner/` and optionally `pair.json` with its serving settings. Each role's folder has a
model, or a LoRA adapter for the base that `pair.json` names; a role without a folder is the base itself. A single
model's folder is a pair too: an actor that refines its own answers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spar_core.errors import ConfigError
from spar_core.judge import JudgeName
from spar_core.model_catalog import base_model, find_base
from spar_core.validation import AlgorithmName, format_validation_error

_BLOCK: Final = 1 << 22


def weights_sha256(folder: Path) -> str:
    """The SHA-256 of the weight files' names and contents, in the order of their names.

    A model in a single file, such as a GGUF, counts as a folder with only that file.
    """
    digest = hashlib.sha256()
    files_here = [folder] if folder.is_file() else [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    for path in sorted(files_here):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def shipped_pair() -> Path:
    """The folder of the shipped pairs; it has the tiny pair's `actor/` and `refiner/`."""
    return Path(str(files("spar_core"))) / "models"


DEFAULT_PAIR: Final = Path("spar-135m")
TINY_PAIR: Final = Path("tiny")
_SHIPPED: Final = {str(TINY_PAIR): shipped_pair(), str(DEFAULT_PAIR): shipped_pair() / "spar-135m"}

# The public keys of `lineage.json`, which also has paths and data.
_PUBLIC: Final = ("name", "sha256", "seed", "iteration")


def lineage_of(folder: Path) -> dict[str, Any]:
    """`{"sha256", "recipe"}`, like a parent in a training's `lineage.json`; without `recipe` if it is unknown."""
    lineage: dict[str, Any] = {"sha256": weights_sha256(folder)}
    recipe = _recipe(folder / "lineage.json")
    return {**lineage, "recipe": {key: recipe[key] for key in _PUBLIC if key in recipe}} if recipe else lineage


def _recipe(file: Path) -> dict[str, Any] | None:
    try:
        lineage = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Serving needs no lineage, so a damaged one is ignored.
        return None
    recipe = lineage.get("recipe") if isinstance(lineage, dict) else None
    return recipe if isinstance(recipe, dict) else None


class _PairFile(BaseModel):
    """`pair.json`: the pair's name, its base, the templates that its refiner is trained for, and what suits it best."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(default=None, min_length=1)
    templates: str = Field(default="default", min_length=1)
    max_tokens: int | None = Field(default=None, ge=1, description="of any one call")
    temperature: float = Field(default=0.9, ge=0, le=2, description="of answers to requests that give none")
    frequency_penalty: float = Field(default=0, ge=-2, le=2, description="of answers to requests that give none")
    base: str | None = Field(default=None, min_length=1, description="a folder, a .gguf file or a known name")
    judge: JudgeName = "holistic"
    algorithm: AlgorithmName = "bfs"


@dataclass(frozen=True, slots=True)
class RoleModel:
    """A model's folder or GGUF file, and the folder of its adapter, if it has one."""

    model: Path
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class PairFolder:
    """The models of a pair for an engine in this process; both are the same if one model has both roles.

    The lengths are the default limits of tokens per call; the temperature and the penalty are the actor's defaults.
    """

    actor: RoleModel
    refiner: RoleModel
    name: str
    templates: str
    answer_tokens: int | None
    judge_tokens: int
    refine_tokens: int
    judge: JudgeName
    algorithm: str
    temperature: float
    frequency_penalty: float


def named_folder(pair: Path) -> Path:
    """The folder of a shipped pair, by its name; any other path unchanged."""
    folder = _SHIPPED.get(str(pair))
    return pair if folder is None or pair.exists() else folder


def shadow_warning(pair: Path) -> str | None:
    """What to say of a path that a shipped pair has as its name, and a file or folder here, too; None for any other."""
    if str(pair) not in _SHIPPED or not pair.exists():
        return None
    return (
        f"{pair} is a shipped pair, but {pair.resolve()} is used, which has the same name; rename it to use the "
        "shipped one, or give its whole path to be rid of this warning"
    )


def base_name(folder: Path) -> str | None:
    """The base that a pair's `pair.json` names, if any.

    Raises:
        ConfigError: its `pair.json` is wrong.
    """
    return _read(folder).base


def load_folder(folder: Path, *, with_base: bool = True) -> PairFolder:
    """Read a pair's folder, without loading any model.

    Without `with_base`, a base of the catalogue may be missing; its model is then where its download will be.

    Raises:
        ConfigError: a model is missing, the base is not on this machine, or `pair.json` is wrong.
    """
    settings = _read(folder)
    if (folder / "config.json").is_file():
        actor = refiner = RoleModel(folder)
    else:
        base = None if settings.base is None else _base(settings.base, must_exist=with_base)
        actor, refiner = (_role(folder / role, base) for role in ("actor", "refiner"))
    return PairFolder(
        actor=actor,
        refiner=refiner,
        name=settings.name or folder.resolve().name,
        templates=str(folder / settings.templates) if (folder / settings.templates).is_dir() else settings.templates,
        answer_tokens=settings.max_tokens,
        judge_tokens=settings.max_tokens or 2048,
        refine_tokens=settings.max_tokens or 3072,
        judge=settings.judge,
        algorithm=settings.algorithm,
        temperature=settings.temperature,
        frequency_penalty=settings.frequency_penalty,
    )


def _read(folder: Path) -> _PairFile:
    file = folder / "pair.json"
    if not file.exists():
        return _PairFile()
    try:
        settings = _PairFile.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{file}: {format_validation_error(error, whole='it', model=_PairFile)}") from error
    if settings.base and (own := folder / settings.base).exists():
        return settings.model_copy(update={"base": str(own)})
    return settings


def _role(folder: Path, base: Path | None) -> RoleModel:
    if (folder / "config.json").is_file():
        return RoleModel(folder)
    if (folder / "adapter_config.json").is_file():
        if base is None:
            raise ConfigError(f"pair: {folder} is an adapter; name its base in {folder.parent / 'pair.json'}")
        return RoleModel(base, folder)
    if base is not None and not folder.exists():
        return RoleModel(base)
    raise ConfigError(f"pair: {folder} holds no model; the folder needs actor/ and refiner/, or to be a model")


def _base(name: str, *, must_exist: bool) -> Path:
    found = find_base(name)
    if found is not None:
        return found.path
    if must_exist:
        raise ConfigError(f"the base {name} is not on this machine; run: spar models pull {name}")
    return base_model(name).folder
