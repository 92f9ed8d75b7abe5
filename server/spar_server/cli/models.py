"""`spar models`: the base models, and where they are."""

from __future__ import annotations

from typing import Annotated

import typer

from spar_core.model_catalog import CATALOG, DEFAULT_BASE, find_base, pull_base

app = typer.Typer(no_args_is_help=True, help="Base models: where they are, and getting them.")
Name = Annotated[str, typer.Argument(help="A name from the list, a folder or a .gguf file")]
_MB = 1_000_000


@app.command("list")
def list_models() -> None:
    """List the base models that are known by name, and where each is on this machine."""
    for model in CATALOG.values():
        found = find_base(model.name)
        where = f"{found.source}: {found.path}" if found else f"not here; spar models pull {model.name}"
        typer.echo(f"{model.name}  {model.repository}  {model.licence}  {where}")


@app.command()
def path(name: Name = DEFAULT_BASE) -> None:
    """Print a base model's folder or file."""
    found = find_base(name)
    if found is None:
        typer.echo(f"spar: {name} is not on this machine; run: spar models pull {name}", err=True)
        raise typer.Exit(2)
    typer.echo(found.path)


@app.command()
def pull(name: Name = DEFAULT_BASE) -> None:
    """Have a base model on this machine: download it where it is not here, and check its SHA-256."""
    typer.echo(pull_shown(name))


def pull_shown(name: str) -> str:
    """Pull, with the size said first and a bar on the terminal's stderr; where the model is then.

    Raises:
        ConfigError: it cannot be had.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None, visible=False)

        def show(done: int, total: int) -> None:
            if not done:
                console.print(f"Downloading {name}: {total / _MB:.0f} MB")
            progress.update(task, completed=done, total=total, visible=True)

        return str(pull_base(name, on_progress=show).path)
