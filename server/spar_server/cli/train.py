"""`spar train`: the commands that make models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

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
def model(
    job: Annotated[Path, typer.Argument(help="JSON file of a training job (docs/trainers.md)")],
    launcher: Annotated[
        str | None, typer.Option(help="What starts it, e.g. 'accelerate launch --config_file FILE -m' (default Python)")
    ] = None,
) -> None:
    """Train one model by DPO or SFT; an unfinished training is gone on with."""
    import shlex

    from spar_training.trainers.job import load_job
    from spar_training.trainers.launch import train

    def tell(row: dict[str, object]) -> None:
        if "loss" in row:
            typer.echo(f"step {row['step']} of {row['total']}: loss {row['loss']:.4f}")

    made = train(load_job(job), tell=tell, launcher=shlex.split(launcher) if launcher else None)
    typer.echo(f"The model is in {made}.")


@app.command()
def export(
    job: Annotated[Path, typer.Argument(help="JSON file of a training job (docs/trainers.md)")],
    out: Annotated[Path, typer.Option(help="Folder for the data and settings")],
    format: Annotated[str, typer.Option(help="llama-factory or trl")] = "llama-factory",
    template: Annotated[str | None, typer.Option(help="LLaMA-Factory's chat format (default the tokenizer's)")] = None,
) -> None:
    """Write a job's data and settings for another trainer."""
    from spar_core.errors import ConfigError
    from spar_training.trainers.job import load_job
    from spar_training.trainers.llama_factory import Format
    from spar_training.trainers.llama_factory import export as write

    if format in ("llama-factory", "trl"):
        write(load_job(job), out, form=cast(Format, format), template=template)
        typer.echo(f"The data is in {out}.")
    else:
        raise ConfigError(f"--format {format}: must be llama-factory or trl")
