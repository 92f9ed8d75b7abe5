"""`spar train bootstrap`: run a recipe with progress shown, then ship the pair."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from spar_training.bootstrap import checkpoint
from spar_training.bootstrap.recipe import Stage, load_recipe
from spar_training.bootstrap.run import Bootstrap
from spar_training.bootstrap.ship import ship_pair


def run(*, recipe: str, out: Path, ship: Path | None, threads: int | None) -> None:
    """Train what is not trained yet, then write the pair.

    Raises:
        ConfigError: the recipe is missing or wrong, or the folder's run was begun with another one.
        DataError: another process trains in the folder, or it cannot be written.
    """
    chosen = load_recipe(recipe)
    if threads:
        torch.set_num_threads(threads)
    bootstrap = Bootstrap(chosen, out)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        rows: dict[str, TaskID] = {
            stage.name: bars.add_task(stage.name, total=stage.tokens, told="") for stage in chosen.stages
        }

        def report(stage: Stage, progress: checkpoint.Progress, figures: dict[str, float]) -> None:
            told = f"loss {figures['loss']:.3f}  {progress.tokens / max(progress.seconds, 1e-9):,.0f} tokens/s"
            bars.update(rows[stage.name], completed=progress.tokens, told=told)
            if len(figures) > 1:
                shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
                console.print(f"{stage.name} {progress.tokens / 1e6:.1f}M: {shown}")

        done = bootstrap.run(report)
    folder = ship or out / "pair"
    ship_pair(bootstrap, done, folder)
    console.print(f"The pair is in {folder}.", soft_wrap=True, markup=False)
