"""`spar models`: list, find and download base models."""

from __future__ import annotations

from typing import Annotated

import typer

from spar_core.model_catalog import CATALOG, DEFAULT_BASE, find_base, pull_shown

app = typer.Typer(no_args_is_help=True, help="List, find and download base models.")
Name = Annotated[str, typer.Argument(help="A name from `spar models list`, a folder or a .gguf file")]


@app.command("list")
def list_models() -> None:
    """List the known base models, and where they are on this machine."""
    for model in CATALOG.values():
        found = find_base(model.name)
        where = f"{found.source}: {found.path}" if found else f"not on this machine; run: spar models pull {model.name}"
        typer.echo(f"{model.name}  {model.repository}  {model.licence}  {where}")


@app.command()
def path(name: Name = DEFAULT_BASE) -> None:
    """Print the folder or file of a base model."""
    found = find_base(name)
    if found is None:
        typer.echo(f"spar: {name} is not on this machine; run: spar models pull {name}", err=True)
        raise typer.Exit(2)
    typer.echo(found.path)


@app.command()
def pull(name: Name = DEFAULT_BASE) -> None:
    """Download a base model, unless it is on this machine, and check its SHA-256."""
    typer.echo(pull_shown(name).path)
