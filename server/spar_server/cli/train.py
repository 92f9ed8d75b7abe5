"""`spar train`: the commands that make models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Train pairs of actor and refiner.")


@app.command()
def bootstrap(
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name, or a YAML file")] = "small-pair",
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished one is resumed")] = Path(
        "runs/small-pair"
    ),
    ship: Annotated[Path | None, typer.Option(help="Folder for the finished pair (default OUT/pair)")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads (default all cores)")] = None,
) -> None:
    """Build tokenizer and base model from nothing, and fine-tune the actor and the refiner from it."""
    from spar_training.bootstrap.command import run

    run(recipe=recipe, out=out, ship=ship, threads=threads)


@app.command()
def run(
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name, or a YAML file")] = "small-pair",
    out: Annotated[Path | None, typer.Option(help="Folder of the run; an unfinished one goes on")] = None,
) -> None:
    """Run the self-play loop: sample, judge, search, train actor and refiner, measure; again with the new pair."""
    from spar_training.command import run as go

    go(recipe=recipe, out=out)
