"""The tables of traces, files and batches. A change here needs a migration in `migrations/versions`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
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

# `status` is uploading, until the content is complete, or processed. `changed` is when content was last added.
FILES: Final = Table(
    "spar_files",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("created", Double, nullable=False),
    Column("changed", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("key", String(64), nullable=False),
    Column("filename", String(256), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("spar_files_by_key", "key", "created", "id"),
    Index("spar_files_by_expiry", "expires"),
)

# Every piece but a file's last is `PIECE` bytes long, so that a range is found without reading the others.
PIECE: Final = 256 * 1024
FILE_PIECES: Final = Table(
    "spar_file_pieces",
    METADATA,
    Column("file_id", String(64), ForeignKey("spar_files.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

# `detail` is JSON: what the client gave, the times of the statuses, and the errors of the input. The server process
# `owner` runs the batch, and must say until `lease` that it still does.
BATCHES: Final = Table(
    "spar_batches",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("key", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("endpoint", String(64), nullable=False),
    Column("input_file", String(64), nullable=False),
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("owner", String(64)),
    Column("lease", Double, nullable=False),
    Column("detail", Text, nullable=False),
    Index("spar_batches_by_key", "key", "created", "id"),
    Index("spar_batches_by_status", "status", "created"),
)

# The requests of a batch that has not ended: where each is in the input file, and its line of output once it has one.
BATCH_LINES: Final = Table(
    "spar_batch_lines",
    METADATA,
    Column("batch_id", String(64), ForeignKey("spar_batches.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("custom_id", String(256), nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("length", Integer, nullable=False),
    Column("failed", Boolean),
    Column("output", Text),
    Index("spar_batch_lines_by_outcome", "batch_id", "failed", "number"),
)
