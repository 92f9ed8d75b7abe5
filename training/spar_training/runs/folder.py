"""The folder of a run: its recipe, and the files, counts and times of each step.

    run = open_run(Path("runs/mine"), recipe)
    with run.iteration(1).step("sample") as counts:
        counts["items"] = 5

`run.json` is the manifest, and `iteration-N/` holds the files of an iteration. A step listed in its `steps.json` is
finished and not run again. A key of the recipe may change until a step has used it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError, DataError
from spar_training.methods import method_of
from spar_training.runs.manifest import inputs_of, manifest_of, read_manifest
from spar_training.runs.recipe import MANIFEST, Recipe
from spar_training.storage.files import write_json
from spar_training.storage.resume import Difference, find_differences, other_settings

_STEPS: Final = "steps.json"
# Keys that one step of the loop uses; the method's stages and data have keys of their own, and all others are used by
# every step.
_KEY_OF_STEP: Final[Mapping[str, str]] = {
    "prompts": "prompts",
    "training.actor": "actor",
    "training.refiner": "refiner",
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
        """The finished steps in order, each with its `seconds` and counts.

        Raises:
            DataError: the file is damaged.
        """
        path = self.file(_STEPS)
        if not path.exists():
            return {}
        try:
            # Earlier versions wrote NaN, which is not JSON, for an unknown figure.
            steps = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: None)
            return {name: dict(counts) for name, counts in steps.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: damaged ({error}); remove it and run again: finished output files are only read"
            ) from error

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Record a step as finished when the block ends, with the counts that it puts into the dictionary.

        The seconds of all tries add up.
        """
        counts: dict[str, Any] = {}
        started = time.monotonic()
        before = self._spent(name)
        try:
            yield counts
        except BaseException:
            self._spend(name, before + time.monotonic() - started)
            raise
        seconds = round(before + time.monotonic() - started, 1)
        write_json(self.file(_STEPS), {**self.steps(), name: {"seconds": seconds, **counts}})
        self.file(f".{name}.seconds").unlink(missing_ok=True)

    def _spent(self, name: str) -> float:
        path = self.file(f".{name}.seconds")
        return float(path.read_text() or 0) if path.exists() else 0.0

    def _spend(self, name: str, seconds: float) -> None:
        # On a full disk the error that ends the step says so, and only the time of this try is lost.
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
    """Start a run, or resume one: keys that no step has used may differ, as may its number of iterations.

    Raises:
        ConfigError: a step of the run has used another value of a key, which is named; or a model or the prompts' file
            is missing.
        DataError: a file of the run is damaged.
    """
    path = folder / MANIFEST
    if path.exists():
        manifest = read_manifest(path)
        before = Recipe.model_validate(manifest["recipe"])
        differing = find_differences(before.deciding_settings(), recipe.deciding_settings())
        _check_unused(folder, before, differing)
        # Asking for fewer iterations hides none that exist.
        now = recipe.model_copy(update={"iterations": max(before.iterations, recipe.iterations)})
        if any(difference.key.startswith(("start.", "prompts.")) for difference in differing):
            manifest["start"] = inputs_of(now)
        if now != before:
            write_json(path, {**manifest, "recipe": now.model_dump(mode="json")})
    else:
        write_json(path, manifest_of(recipe))
    return Run(folder, recipe)


def read_run(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        ConfigError: there is none.
        DataError: its manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise ConfigError(f"{folder}: no run here ({MANIFEST} is missing); start one: spar train run --out {folder}")
    return Run(folder, Recipe.model_validate(read_manifest(path)["recipe"]))


def _check_unused(folder: Path, recipe: Recipe, differing: Sequence[Difference]) -> None:
    """Refuse a changed key that a step has used.

    Raises:
        ConfigError: as described.
    """
    steps = _users(recipe)
    used = _started_steps(folder, recipe) if differing else {}
    for difference in differing:
        user = next((step for key, step in steps.items() if f"{difference.key}.".startswith(f"{key}.")), None)
        for step in used if user is None else used.keys() & {user}:
            again = "" if used[step].name == _STEPS else f"; or remove {used[step]}, to start {step} over"
            raise other_settings(
                folder,
                [difference],
                f"Its step {step} has used that ({used[step]}): give another --out, or the old recipe{again}",
            )


def _users(recipe: Recipe) -> dict[str, str]:
    """The step that uses a key alone."""
    method = method_of(recipe)
    stages = {stage.key: stage.name for stage in method.stage_types}
    return {**_KEY_OF_STEP, **stages, **dict.fromkeys(method.data_keys, "data")}


def _started_steps(folder: Path, recipe: Recipe) -> dict[str, Path]:
    """The steps that are finished or half done in some iteration, each with the file that shows it.

    Trainings are left out while they are half done: they check by themselves what they were started with.
    """
    iterations = [Iteration(0, each) for each in sorted(folder.glob("iteration-*"))]
    outputs = {stage.name: f"{stage.file}*" for stage in method_of(recipe).stage_types} | {"evaluation": "evaluation"}
    half_done = {
        step: path
        for iteration in iterations
        for step, pattern in outputs.items()
        for path in iteration.folder.glob(pattern)
        if path.stat().st_size
    }
    return half_done | {step: iteration.file(_STEPS) for iteration in iterations for step in iteration.steps()}
