"""`spar train run`: run the self-play loop and show its progress."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from spar_training.loop import Loop, check_recipe
from spar_training.pipeline.executors.factory import open_executor
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
    """Run what is not finished. Ctrl-C and SIGTERM also end the servers and trainings that it started.

    Raises:
        ConfigError: the recipe or the executor is missing or invalid, or the folder holds a run of another recipe.
        DataError, BackendError, TrainingError: as raised by `Loop.run_iterations`.
    """
    chosen = load_recipe(recipe, changes)
    check_recipe(chosen)
    folder = out or Path("runs") / chosen.name
    console = Console(stderr=True)
    resumed, repeated = folder / MANIFEST, _manifest(recipe)
    for manifest in {path for path in (resumed, repeated) if path and path.is_file()}:
        # A resumed run has used its inputs, and the lineage of its models records their digests.
        for difference in differences(read_manifest(manifest), None if manifest == resumed else chosen):
            console.print(Text(f"warning: since {manifest} was written: {difference}"), soft_wrap=True)
    # Also for Ctrl-C: asyncio's own handler would wait for a running training to finish.
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with open_executor(executor, ray_address=ray_address, workers=workers) as opened:
            loop = Loop(run=open_run(folder, chosen), executor=opened, console=console)
            pair = asyncio.run(loop.run_iterations())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    console.print(f"The pair is in {pair.actor} and {pair.refiner}.", soft_wrap=True, markup=False)


def _manifest(recipe: str) -> Path | None:
    """The manifest that the recipe comes from, if it is that of a run."""
    path = Path(recipe)
    if (path / MANIFEST).is_file():
        return path / MANIFEST
    return path if path.name == MANIFEST else None


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
