"""Renamed command line options: the former names still work, but `--help` does not show them.

@app.command(cls=RenamedOptions)
def evolve(...): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer
from typer.core import TyperCommand

RENAMED: Final[Mapping[str, str]] = {
    "--against": "--benchmark",
    "--key-env": "--api-key-env",
    "--leak": "--contamination-threshold",
    "--near": "--near-duplicate-threshold",
}


class RenamedOptions(TyperCommand):
    """A command that accepts the former names of its options and warns about them on stderr."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_rename(args)))


def _rename(args: list[str]) -> Iterator[str]:
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            yield arg
            break
        name, equals, value = arg.partition("=")
        if name in RENAMED:
            typer.echo(f"spar: {name} is deprecated; use {RENAMED[name]}", err=True)
            arg = f"{RENAMED[name]}{equals}{value}"
        yield arg
    yield from rest
