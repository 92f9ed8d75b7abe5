"""Commands that installed packages add to `spar`, by the entry points `spar.commands`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperGroup

from spar_core.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS: Final = "spar.commands"
# Commands of a distribution that the server does not depend on; without it they say where they come from.
_OF_THE_CLIENT: Final = ("batch", "chat")


class CommandGroup(TyperGroup):
    """The commands of the app itself, then those of entry points in alphabetical order.

    An entry point names a `typer.Typer`, which becomes a group of commands, or a function, which becomes one command:

        [project.entry-points."spar.commands"]
        train = "spar_training.cli.train:app"

    It is imported when it is run or listed, so keep slow imports inside its commands. One that cannot be imported is
    still listed, with the reason. An entry point does not replace a command of the app.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return own + sorted({*_entry_points(), *_OF_THE_CLIENT} - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if own := super().get_command(ctx, cmd_name):
            return own
        if entry := _entry_points().get(cmd_name):
            return _load(entry)
        if cmd_name in _OF_THE_CLIENT:
            reason = "is part of spar-client, which is not installed; install clients/python of the repository with pip"
            return _unavailable(cmd_name, reason)
        return None


def _entry_points() -> dict[str, EntryPoint]:
    # Imported here because the app's own commands, `serve` first of all, start without it.
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _load(entry: EntryPoint) -> Any:
    group = typer.Typer(add_completion=False)
    try:
        loaded = entry.load()
    except (ImportError, AttributeError) as error:
        return _unavailable(entry.name, _reason(entry, error))
    if isinstance(loaded, typer.Typer):
        group.add_typer(loaded, name=entry.name)
    else:
        group.command(entry.name)(loaded)
    return typer.main.get_group(group).commands[entry.name]


def _reason(entry: EntryPoint, error: ImportError | AttributeError) -> str:
    package = entry.dist.name if entry.dist else entry.module
    if isinstance(error, ModuleNotFoundError):
        return f"needs {error.name}, which is not installed; install the extra of {package} that contains it"
    return f"cannot be loaded from {package}: {error}; reinstall {package}"


def _unavailable(name: str, reason: str) -> Any:
    """A command that only says why the real one cannot be loaded."""
    group = typer.Typer(add_completion=False)

    @group.command(name, help=f"Not available: {reason}", context_settings=_ANY_ARGUMENTS)
    def unavailable() -> None:
        raise ConfigError(f"`spar {name}` {reason}")

    return typer.main.get_group(group).commands[name]


_ANY_ARGUMENTS: Final = {"ignore_unknown_options": True, "allow_extra_args": True}
