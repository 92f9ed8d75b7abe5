"""Alembic's environment: the connection comes from `migrations.upgrade`."""

from __future__ import annotations

from alembic import context

from spar_server.traces.migrations import VERSION_TABLE
from spar_server.traces.schema import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, version_table=VERSION_TABLE)
context.run_migrations()
