"""`spar train run`: the self-play loop with its progress shown."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from spar_training.executors.choice import chosen_executor
from spar_training.loop import Loop
from spar_training.recipe import load_recipe
from spar_training.runs import open_run


def run(*, recipe: str, out: Path | None, executor: str, ray_address: str | None, workers: int | None) -> None:
    """Run what is not done yet.

    Raises:
        ConfigError: the recipe or the executor is missing or wrong, or the folder holds the run of another.
        DataError, BackendError, TrainingError: as `Loop.go` says.
    """
    chosen = load_recipe(recipe)
    console = Console(stderr=True)
    with chosen_executor(executor, ray_address=ray_address, workers=workers) as doing:
        loop = Loop(run=open_run(out or Path("runs") / chosen.name, chosen), executor=doing, console=console)
        pair = asyncio.run(loop.go())
    console.print(f"The pair is in {pair.actor} and {pair.refiner}.")
