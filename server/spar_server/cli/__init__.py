"""The `spar` command. Each subcommand's module is imported when it is run, so that `spar --help` is quick.

This is the one place that knows both the server and the training package.
"""

from spar_server.cli.main import main

__all__ = ["main"]
