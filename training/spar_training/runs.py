"""A run's folder: its recipe, what each step counted and took, and what was made.

`run.json` is its manifest; `iteration-N/` the files of the N-th iteration, and its
`steps.json`. A step that is in `steps.json` is finished and is not done again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar_core.errors import ConfigError
from spar_training.files import write_json
from spar_training.manifest import manifest_of, read_manifest
from spar_training.recipe import MANIFEST, Recipe


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
        return float(path.read_text() or 0) if path.exists() else 0.0

    def _spend(self, name: str, seconds: float) -> None:
        # Where the disk is full, the error that ends the step says so; the time of this try is all that is lost.
        with suppress(OSError):
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
    """Begin a run, or go on with one: with more iterations, or served and trained otherwise, if the recipe says so now.

    Raises:
        ConfigError: the folder's run has another recipe, names the first key that differs; or what the run begins with
            is missing.
    """
    path = folder / MANIFEST
    if path.exists():
        manifest = read_manifest(path)
        begun = Recipe.model_validate(manifest["recipe"])
        _same(folder, begun.essence(), recipe.essence())
        # What was made stays shown: a call that wants fewer iterations takes none away.
        now = recipe.model_copy(update={"iterations": max(begun.iterations, recipe.iterations)})
        if now != begun:
            write_json(path, {**manifest, "recipe": now.model_dump(mode="json")})
    else:
        write_json(path, manifest_of(recipe))
    return Run(folder, recipe)


def read_run(folder: Path) -> Run:
    """A run that was begun.

    Raises:
        ConfigError: there is none in the folder.
        DataError: its manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise ConfigError(f"{folder}: no run here ({MANIFEST} is missing); begin one: spar train run --out {folder}")
    return Run(folder, Recipe.model_validate(read_manifest(path)["recipe"]))


def _same(folder: Path, begun: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in wanted:
        if begun[key] != wanted[key]:
            raise ConfigError(
                f"{folder}: its run was begun with {key}: {begun.get(key)}, the recipe now says {wanted.get(key)}; "
                "give another --out, or the recipe that it was begun with"
            )
