"""A run's folder: its recipe, what each step counted and took, and what was made.

`run.json` is its manifest; `iteration-N/` the files of the N-th iteration, and its
`steps.json`. A step that is in `steps.json` is finished and is not done again.

A key of the recipe may change as long as no step has used it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError, DataError
from spar_training.runs.manifest import inputs_of, manifest_of, read_manifest
from spar_training.runs.recipe import MANIFEST, Recipe
from spar_training.storage.files import write_json

_STEPS: Final = "steps.json"
# The steps that use a key; those that are not here are used by all.
_USED_BY: Final[Mapping[str, str]] = {
    "prompts": "prompts",
    "sample": "sample",
    "judge": "judge",
    "search": "search",
    "actor_data": "data",
    "refiner_data": "data",
    "training.actor": "actor",
    "training.refiner": "refiner",
    "evaluation": "evaluation",
}
# What a step leaves that was stopped, and goes on from. A training knows by itself what it was begun with.
_HALF_DONE: Final[Mapping[str, str]] = {
    "sample": "samples.jsonl*",
    "judge": "judgements.jsonl*",
    "search": "searches.jsonl*",
    "evaluation": "evaluation",
}


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
        """The finished steps in order: `seconds` and what each counted.

        Raises:
            DataError: the file is damaged.
        """
        path = self.file(_STEPS)
        if not path.exists():
            return {}
        try:
            # Earlier versions wrote NaN, which is no JSON, for a figure that is not known.
            steps = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: None)
            return {name: dict(counts) for name, counts in steps.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: damaged ({error}); remove it and run again: a step whose files are there is only read"
            ) from error

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
        write_json(self.file(_STEPS), {**self.steps(), name: {"seconds": seconds, **counts}})
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
        ConfigError: the folder's run has used another recipe, names the first key that differs and what used it; or
            what the run begins with is missing.
        DataError: a file of the run is damaged.
    """
    path = folder / MANIFEST
    if path.exists():
        manifest = read_manifest(path)
        begun = Recipe.model_validate(manifest["recipe"])
        changed = _changed(folder, begun.fingerprint_fields(), recipe.fingerprint_fields())
        # What was made stays shown: a call that wants fewer iterations takes none away.
        now = recipe.model_copy(update={"iterations": max(begun.iterations, recipe.iterations)})
        if any(key.startswith(("start.", "prompts.")) for key in changed):
            manifest["start"] = inputs_of(now)
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


def _changed(folder: Path, begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The keys that differ, if all of them may."""
    differing = list(_differing(begun, wanted))
    used = _steps_begun(folder) if differing else {}
    for key, was, now in differing:
        users = next((step for start, step in _USED_BY.items() if f"{key}.".startswith(f"{start}.")), None)
        for step in used if users is None else used.keys() & {users}:
            anew = "" if used[step].name == _STEPS else f"; or remove {used[step]}, to do {step} from its beginning"
            raise ConfigError(
                f"{folder}: its run was begun with {key}: {was}, which its step {step} has used ({used[step]}); the "
                f"recipe now says {now}. Give another --out, or the recipe that it was begun with{anew}"
            )
    return [key for key, _, _ in differing]


def _differing(begun: Mapping[str, Any], wanted: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key in {**begun, **wanted}:
        was, now = begun.get(key), wanted.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _differing(was, now, f"{under}{key}.")
        elif was != now:
            yield f"{under}{key}", was, now


def _steps_begun(folder: Path) -> dict[str, Path]:
    """The steps that are finished in some iteration, or half done, each with the file that tells."""
    folders = sorted(folder.glob("iteration-*"))
    half = {
        step: path
        for each in folders
        for step, pattern in _HALF_DONE.items()
        for path in each.glob(pattern)
        if path.stat().st_size
    }
    return half | {step: each / _STEPS for each in folders for step in Iteration(0, each).steps()}
