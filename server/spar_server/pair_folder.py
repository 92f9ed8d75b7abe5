"""A pair in a folder: `actor/`, `refiner/` and, where it says how it wants to be served, `pair.json`.

A folder that is a model itself is a pair too: an actor that refines its own answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spar_core.errors import ConfigError
from spar_core.validation import told


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
            raise ConfigError(f"{file}: {told(error, whole='it', model=_PairFile)}") from error
    return PairFolder(
        actor=actor,
        refiner=refiner,
        name=said.name or folder.resolve().name,
        templates=said.templates,
        answer_tokens=said.max_tokens,
        judge_tokens=said.max_tokens or 2048,
        refine_tokens=said.max_tokens or 3072,
    )
