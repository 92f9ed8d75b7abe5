"""A run's folder: its recipe, what each step counted and took, and what was made.

`run.json` holds the recipe and the versions that began the run; `iteration-N/` the files of the N-th iteration, and its
`steps.json`. A step that is in `steps.json` is finished and is not done again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar_core.errors import ConfigError, DataError
from spar_training.files import write_json
from spar_training.recipe import Recipe
from spar_training.versions import code_revision, versions


@dataclass(frozen=True, slots=True)
class Iteration:
    """One iteration's folder."""

    number: int
    folder: Path

    def file(self, name: str) -> Path:
        return self.folder / name

    @property
    def actor(self) -> Path:
        return self.folder / "actor"

    @property
    def refiner(self) -> Path:
        return self.folder / "refiner"

    def steps(self) -> dict[str, dict[str, Any]]:
        """The finished steps in order: `seconds` and what each counted."""
        path = self.file("steps.json")
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Do a step: what the block puts into the dictionary is kept with its time. Seconds of all its tries add up."""
        counts: dict[str, Any] = {}
        began = time.monotonic()
        before = self._spent(name)
        try:
            yield counts
        except BaseException:
            self._spend(name, before + time.monotonic() - began)
            raise
        seconds = round(before + time.monotonic() - began, 1)
        write_json(self.file("steps.json"), {**self.steps(), name: {"seconds": seconds, **counts}})
        self.file(f".{name}.seconds").unlink(missing_ok=True)

    def _spent(self, name: str) -> float:
        path = self.file(f".{name}.seconds")
        return float(path.read_text()) if path.exists() else 0.0

    def _spend(self, name: str, seconds: float) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file(f".{name}.seconds").write_text(f"{seconds:.1f}")


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder and its recipe."""

    folder: Path
    recipe: Recipe

    def iteration(self, number: int) -> Iteration:
        return Iteration(number, self.folder / f"iteration-{number}")


def open_run(folder: Path, recipe: Recipe) -> Run:
    """Begin a run, or go on with one.

    Raises:
        ConfigError: the folder's run has another recipe; names the first key that differs.
    """
    path = folder / "run.json"
    if path.exists():
        begun = _read(path)
        _same(folder, begun["recipe"], recipe.model_dump(mode="json"))
    else:
        data = {"recipe": recipe.model_dump(mode="json"), "versions": versions(), "code": code_revision()}
        write_json(path, data)
    return Run(folder, recipe)


def read_run(folder: Path) -> Run:
    """A run that was begun.

    Raises:
        ConfigError: there is none in the folder.
    """
    path = folder / "run.json"
    if not path.exists():
        raise ConfigError(f"{folder}: no run here (run.json is missing); begin one with spar train run --out {folder}")
    return Run(folder, Recipe.model_validate(_read(path)["recipe"]))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error})") from error


def _same(folder: Path, begun: dict[str, Any], wanted: dict[str, Any]) -> None:
    # Where more iterations are wanted than the run was begun with, it goes on; a name changes nothing that is made.
    ignored = {"name", "iterations", "in_flight", "paper", "resources"}
    for key in {**begun, **wanted}:
        if key not in ignored and begun.get(key) != wanted.get(key):
            raise ConfigError(
                f"{folder}: its run was begun with {key}: {begun.get(key)}, the recipe now says {wanted.get(key)}; "
                "give another --out, or the recipe that it was begun with"
            )
