"""Commands that installed packages add to `spar`, by the entry points `spar.commands`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import typer
from typer.core import TyperGroup

from spar_core.errors import ConfigError
from spar_core.plugins import Registry

COMMANDS: Final[Registry[Any]] = Registry("spar.commands", {}, kind="command")
_CLIENT: Final = "spar-client, which is not installed; install clients/python of the repository with pip"
_ANY_ARGUMENTS: Final = {"ignore_unknown_options": True, "allow_extra_args": True}


class CommandGroup(TyperGroup):
    """The commands of the app itself, then those of entry points in alphabetical order.

    An entry point names a `typer.Typer`, which becomes a group of commands, or a function, which becomes one command:

        [project.entry-points."spar.commands"]
        train = "spar_training.cli.train:app"

    It is imported when it is run or listed, so keep slow imports inside its commands. One that cannot be imported is
    still listed, with the reason. An entry point does not replace a command of the app. `missing` names commands of
    distributions that the server does not depend on, and says where they come from while those are not installed.
    """

    command: ClassVar[str] = "spar"
    registry: ClassVar[Registry[Any]] = COMMANDS
    missing: ClassVar[Mapping[str, str]] = dict.fromkeys(("batch", "chat"), _CLIENT)

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return own + sorted({*self.registry, *self.missing} - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if own := super().get_command(ctx, cmd_name):
            return own
        if cmd_name in self.registry:
            return _load(self.registry, cmd_name)
        if cmd_name in self.missing:
            reason = f"`{self.command} {cmd_name}` is part of {self.missing[cmd_name]}"
            return _unavailable(cmd_name, ConfigError(reason))
        return None


def _load(registry: Registry[Any], name: str) -> Any:
    try:
        loaded = registry[name]
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
