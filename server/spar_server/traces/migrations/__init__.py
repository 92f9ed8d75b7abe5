"""Migrations of the trace store, by Alembic."""

from __future__ import annotations

from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

# A table of its own, because a PostgreSQL database may also belong to other applications that use Alembic.
VERSION_TABLE: Final = "spar_traces_version"


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to `revision`, in the connection's transaction."""
    command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Take the tables back to `revision`; `base` removes them."""
    command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "spar_server.traces:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
