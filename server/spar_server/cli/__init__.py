"""The `spar` command. A subcommand's module is imported when it runs, so that `spar --help` stays fast."""

from spar_server.cli.main import main

__all__ = ["main"]
