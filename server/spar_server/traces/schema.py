"""The tables of the trace store. A change here needs a migration in `migrations/versions`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

METADATA: Final = MetaData()

# `created` is in seconds since 1970. `body` is JSON (see `document.py`), and `size` its length in bytes. It comes last,
# so that SQLite reads the other columns without it.
TRACES: Final = Table(
    "spar_traces",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("created", Double, nullable=False),
    Column("key", String(64), nullable=False),
    Column("model", String(256), nullable=False),
    Column("budget", Integer, nullable=False),
    Column("nodes", Integer, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("stop_reason", String(32), nullable=False),
    Column("accepted", Boolean, nullable=False),
    Column("improved", Boolean, nullable=False),
    Column("degraded", Boolean, nullable=False),
    Column("value", Double),
    Column("draft_value", Double),
    Column("duration_ms", Double, nullable=False),
    Column("size", Integer, nullable=False),
    Column("body", Text, nullable=False),
    # With `size`, the index alone answers how large all traces are.
    Index("spar_traces_by_age", "created", "id", "size"),
    Index("spar_traces_by_key", "key", "created", "id"),
)

FEEDBACK: Final = Table(
    "spar_trace_feedback",
    METADATA,
    Column("trace_id", String(64), ForeignKey("spar_traces.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("created", Double, nullable=False),
    Column("score", Double, nullable=False),
    Column("comment", Text, nullable=False),
)

SUMMARY: Final = tuple(column for column in TRACES.columns if column.name not in ("size", "body"))
