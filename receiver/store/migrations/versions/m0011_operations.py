"""Operations on all that matches a filter, done in the background. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
compatible_from = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "operations",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("operation", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("matching", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("refused", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("reached", _TEXT),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("lease_owner", _TEXT),
        sa.Column("lease_until", sa.Double()),
        sa.Column("detail", _TEXT),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("criteria", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sa.CheckConstraint(
            "state IN ('unfinished', 'completed', 'stopped', 'failed')", name=op.f("ck_operations_state")
        ),
    )
    unfinished = sa.text("state = 'unfinished'")
    op.create_index(
        "ix_operations_unfinished", "operations", ["id"], sqlite_where=unfinished, postgresql_where=unfinished
    )
