"""The lineage of a model: its `lineage.json`, its parent's, and so on back to the start.

for ancestor in chain_of(Path("runs/mine/iteration-3/actor")):
    print(ancestor.name, *changes_of(ancestor))
"""

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

# A shipped model names a parent inside one of these packages by its path in the package.
_PACKAGES: Final = ("spar_core", "spar_training")


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A model of the chain. `lineage` is None for the model that it starts from, `folder` for one that is missing."""

    name: str
    folder: Path | None
    lineage: dict[str, Any] | None
    sha256: str | None


def chain_of(model: Path) -> list[Ancestor]:
    """The model, its parent, and so on to the first that was not made by a training of this package.

    Raises:
        ConfigError: there is no model in the folder.
        DataError: a lineage.json is damaged.
    """
    if not (model / "config.json").is_file() and not (model / LINEAGE).is_file():
        raise ConfigError(f"{model}: neither a run (run.json is missing), a pair nor a model (config.json is missing)")
    chain = [Ancestor(str(model), model, _lineage(model), None)]
    while (lineage := chain[-1].lineage) is not None:
        parent = lineage["parent"]
        folder = _find(parent["model"], chain[-1].folder)
        before = _lineage(folder) if folder else _embedded(lineage)
        chain.append(Ancestor(parent["model"], folder, before, parent.get("sha256")))
    return chain


def changes_of(ancestor: Ancestor) -> Iterator[str]:
    """What changed since the ancestor's child was trained from it, and the ancestor on its data; rehashes all files."""
    if ancestor.sha256 and ancestor.folder and parent_of(str(ancestor.folder)).get("sha256") != ancestor.sha256:
        yield f"{ancestor.folder}: its weights are not those that the child was trained from"
    for file in (ancestor.lineage or {}).get("data", ()):
        path = _find(file["path"], ancestor.folder)
        if path is None:
            yield f"{file['path']}: no longer exists"
        elif file_digest(path) != file["sha256"]:
            yield f"{path}: has changed since"


def _lineage(folder: Path) -> dict[str, Any] | None:
    path = folder / LINEAGE
    if not path.is_file():
        return None
    try:
        lineage = json.loads(path.read_text(encoding="utf-8"))
        lineage["parent"]["model"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error})") from error
    return dict(lineage)


def _embedded(lineage: dict[str, Any]) -> dict[str, Any] | None:
    """The lineage of the parent of a shipped model, which is part of the model's own."""
    before = lineage.get("before", [])
    return {**before[0], "before": before[1:]} if before else None


def _find(recorded: str, child: Path | None) -> Path | None:
    """A recorded path, or where it is now if the run's folder was moved or mounted elsewhere."""
    package, _, inside = recorded.partition("/")
    path = Path(str(files(package))) / inside if package in _PACKAGES else Path(recorded)
    moved = [child.absolute().parents[1] / path.parent.name / path.name] if child else []
    return next((each for each in (path, *moved) if each.exists()), None)
