"""Files and batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spar_files",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("changed", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("filename", sa.String(256), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
    )
    op.create_index("spar_files_by_key", "spar_files", ["key", "created", "id"])
    op.create_index("spar_files_by_expiry", "spar_files", ["expires"])
    op.create_table(
        "spar_file_pieces",
        sa.Column("file_id", sa.String(64), sa.ForeignKey("spar_files.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "spar_batches",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("endpoint", sa.String(64), nullable=False),
        sa.Column("input_file", sa.String(64), nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("completed", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("lease", sa.Double, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("spar_batches_by_key", "spar_batches", ["key", "created", "id"])
    op.create_index("spar_batches_by_status", "spar_batches", ["status", "created"])
    op.create_table(
        "spar_batch_lines",
        sa.Column("batch_id", sa.String(64), sa.ForeignKey("spar_batches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("custom_id", sa.String(256), nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("failed", sa.Boolean),
        sa.Column("output", sa.Text),
    )
    op.create_index("spar_batch_lines_by_outcome", "spar_batch_lines", ["batch_id", "failed", "number"])


def downgrade() -> None:
    for table in ("spar_batch_lines", "spar_batches", "spar_file_pieces", "spar_files"):
        op.drop_table(table)
