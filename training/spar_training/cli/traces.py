"""`spar traces export`, which the server's `spar traces` finds by an entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer


def export(
    out: Annotated[Path, typer.Option(help="JSONL file for the rows")],
    format: Annotated[str, typer.Option(help="dpo: preference pairs for an actor; rft: conversations for a refiner")],
    url: Annotated[str, typer.Option(help="URL of the server")] = "http://127.0.0.1:8000",
    since: Annotated[str | None, typer.Option(help="First time, as ISO 8601 or seconds since 1970")] = None,
    until: Annotated[str | None, typer.Option(help="Time before which the searches finished")] = None,
    key: Annotated[str | None, typer.Option(help="Name of an API key")] = None,
    model: Annotated[str | None, typer.Option(help="Model name")] = None,
    templates: Annotated[
        str | None, typer.Option(help="Template set that the refiner will be served with (default each trace's own)")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="OPENAI_API_KEY", help="API key, if the server needs one")
    ] = None,
) -> None:
    """Write stored searches as training data: accepted refinements, and judgements that were not unanimous."""
    from spar_core.errors import ConfigError
    from spar_training.commands.export_traces import Format, run

    if format not in ("dpo", "rft"):
        raise ConfigError(f"--format {format}: must be dpo or rft")
    filters = {"since": since, "until": until, "key": key, "model": model}
    query = {name: value for name, value in filters.items() if value is not None}
    form = cast(Format, format)
    typer.echo(run(url=url, api_key=api_key, query=query, form=form, out=out, templates=templates))
