"""`spar train bootstrap`: run a recipe, showing progress, then write the pair."""

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
    """Train the unfinished stages, then write the pair.

    Raises:
        ConfigError: the recipe is missing or invalid, or the folder's run was started with another one.
        DataError: another process is training in the folder, or it cannot be written.
    """
    chosen = load_recipe(recipe)
    if threads:
        torch.set_num_threads(threads)
    bootstrap = Bootstrap(chosen, out)
    console = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        rows: dict[str, TaskID] = {
            stage.name: bars.add_task(stage.name, total=stage.tokens, figures="") for stage in chosen.stages
        }

        def report(stage: Stage, progress: checkpoint.Progress, figures: dict[str, float]) -> None:
            shown = f"loss {figures['loss']:.3f}  {progress.tokens / max(progress.seconds, 1e-9):,.0f} tokens/s"
            bars.update(rows[stage.name], completed=progress.tokens, figures=shown)
            if len(figures) > 1:
                line = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
                console.print(f"{stage.name} {progress.tokens / 1e6:.1f}M: {line}")

        done = bootstrap.run(report)
    folder = ship or out / "pair"
    ship_pair(bootstrap, done, folder)
    console.print(f"The pair is in {folder}.", soft_wrap=True, markup=False)
