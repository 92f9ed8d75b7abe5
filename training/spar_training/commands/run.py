"""`spar train run`: the self-play loop with its progress shown."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from spar_training.loop import Loop, check
from spar_training.pipeline.executors.factory import chosen_executor
from spar_training.runs.folder import open_run
from spar_training.runs.manifest import differences, read_manifest
from spar_training.runs.recipe import MANIFEST, load_recipe


def run(
    *,
    recipe: str,
    changes: Sequence[str],
    out: Path | None,
    executor: str,
    ray_address: str | None,
    workers: int | None,
) -> None:
    """Run what is not done yet. Told to end, by Ctrl-C or SIGTERM, it ends the servers and trainings that it started.

    Raises:
        ConfigError: the recipe or the executor is missing or wrong, or the folder holds the run of another.
        DataError, BackendError, TrainingError: as `Loop.go` says.
    """
    chosen = load_recipe(recipe, changes)
    check(chosen)
    folder = out or Path("runs") / chosen.name
    console = Console(stderr=True)
    begun, again = folder / MANIFEST, _manifest(recipe)
    for manifest in {path for path in (begun, again) if path and path.is_file()}:
        # A run that goes on has used its inputs, and each model that it made has told their digests.
        for difference in differences(read_manifest(manifest), None if manifest == begun else chosen):
            console.print(Text(f"warning: since {manifest} was written: {difference}"), soft_wrap=True)
    # Also for Ctrl-C: asyncio's own way of ending waits for a training that is under way.
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with chosen_executor(executor, ray_address=ray_address, workers=workers) as doing:
            pair = asyncio.run(Loop(run=open_run(folder, chosen), executor=doing, console=console).go())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    console.print(f"The pair is in {pair.actor} and {pair.refiner}.", soft_wrap=True, markup=False)


def _manifest(recipe: str) -> Path | None:
    """The manifest that the recipe is taken from, where it is a run's."""
    path = Path(recipe)
    if (path / MANIFEST).is_file():
        return path / MANIFEST
    return path if path.name == MANIFEST else None


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
