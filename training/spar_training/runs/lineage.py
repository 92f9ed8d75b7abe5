"""Where a model comes from: its own lineage.json, its parent's, and so on back to the start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError, DataError
from spar_training.storage.provenance import file_digest, parent_of
from spar_training.trainers.status import LINEAGE

# A shipped model tells of a parent in these by its place in the package.
_PACKAGES: Final = ("spar_core", "spar_training")


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A model of the chain. `lineage` is None for the one that it starts from; `folder` for one that is not here."""

    name: str
    folder: Path | None
    lineage: dict[str, Any] | None
    sha256: str | None


def chain_of(model: Path) -> list[Ancestor]:
    """The model, its parent, and so on to the first that no training of ours made.

    Raises:
        ConfigError: there is no model in the folder.
        DataError: a lineage.json is damaged.
    """
    if not (model / "config.json").is_file() and not (model / LINEAGE).is_file():
        raise ConfigError(f"{model}: neither a run (run.json is missing), a pair nor a model (config.json is missing)")
    chain = [Ancestor(str(model), model, _lineage(model), None)]
    while (told := chain[-1].lineage) is not None:
        parent = told["parent"]
        folder = _found(parent["model"], chain[-1].folder)
        before = _lineage(folder) if folder else _kept(told)
        chain.append(Ancestor(parent["model"], folder, before, parent.get("sha256")))
    return chain


def changes_of(ancestor: Ancestor) -> Iterator[str]:
    """What is not as it was when the ancestor's child was trained on it, or the ancestor on its data; rehashes all."""
    if ancestor.sha256 and ancestor.folder and parent_of(str(ancestor.folder)).get("sha256") != ancestor.sha256:
        yield f"{ancestor.folder}: its weights are not those that were trained further"
    for file in (ancestor.lineage or {}).get("data", ()):
        path = _found(file["path"], ancestor.folder)
        if path is None:
            yield f"{file['path']}: is not there any more"
        elif file_digest(path) != file["sha256"]:
            yield f"{path}: changed since"


def _lineage(folder: Path) -> dict[str, Any] | None:
    path = folder / LINEAGE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["parent"]["model"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error})") from error
    return dict(found)


def _kept(told: dict[str, Any]) -> dict[str, Any] | None:
    """What a shipped model tells of its parent."""
    before = told.get("before", [])
    return {**before[0], "before": before[1:]} if before else None


def _found(told: str, child: Path | None) -> Path | None:
    """Where it was, or where it is if its run's folder was moved or is seen from elsewhere."""
    package, _, inside = told.partition("/")
    path = Path(str(files(package))) / inside if package in _PACKAGES else Path(told)
    moved = [child.absolute().parents[1] / path.parent.name / path.name] if child else []
    return next((each for each in (path, *moved) if each.exists()), None)
