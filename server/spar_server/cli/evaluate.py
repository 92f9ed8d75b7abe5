"""`spar eval`: the commands that measure models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Measure models and pairs by verifiers.")


@app.command()
def world(
    prompts: Annotated[int, typer.Option(min=1, help="Held-out prompts")] = 500,
    budget: Annotated[int, typer.Option(min=1, help="Refinement budget compared with 0")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of every sampled number")] = 0,
    pair: Annotated[Path | None, typer.Option(help="Folder with actor/ and refiner/ (default shipped)")] = None,
    split: Annotated[str, typer.Option(help="held_out, or validation for tuning")] = "held_out",
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON here")] = None,
) -> None:
    """Measure a pair on held-out prompts of its world: judge, refinement, and what a budget buys."""
    from spar_training.evals.command import run

    run(prompts=prompts, budget=budget, seed=seed, pair=pair, split=split, out=out)
