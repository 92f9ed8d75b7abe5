"""Commands that installed packages add to `spar`, by the entry points `spar.commands`."""

from __future__ import annotations

from typing import Any, Final

import typer
from typer.core import TyperGroup

from spar_core.errors import ConfigError
from spar_core.plugins import Registry

COMMANDS: Final[Registry[Any]] = Registry("spar.commands", {}, kind="command")
# Commands of a distribution that the server does not depend on; without it they say where they come from.
_OF_THE_CLIENT: Final = ("batch", "chat")
_ANY_ARGUMENTS: Final = {"ignore_unknown_options": True, "allow_extra_args": True}


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
        return own + sorted({*COMMANDS, *_OF_THE_CLIENT} - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if own := super().get_command(ctx, cmd_name):
            return own
        if cmd_name in COMMANDS:
            return _load(cmd_name)
        if cmd_name in _OF_THE_CLIENT:
            where = "spar-client, which is not installed; install clients/python of the repository with pip"
            return _unavailable(cmd_name, ConfigError(f"`spar {cmd_name}` is part of {where}"))
        return None


def _load(name: str) -> Any:
    try:
        loaded = COMMANDS[name]
    except ConfigError as error:
        return _unavailable(name, error)
    group = typer.Typer(add_completion=False)
    if isinstance(loaded, typer.Typer):
        group.add_typer(loaded, name=name)
    else:
        group.command(name)(loaded)
    return typer.main.get_group(group).commands[name]


def _unavailable(name: str, reason: ConfigError) -> Any:
    """A command that only says why the real one cannot be loaded."""
    group = typer.Typer(add_completion=False)

    @group.command(name, help=f"Not available: {reason}", context_settings=_ANY_ARGUMENTS)
    def unavailable() -> None:
        raise reason

    return typer.main.get_group(group).commands[name]
