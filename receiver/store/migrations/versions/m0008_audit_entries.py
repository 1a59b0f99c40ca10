"""The audit log: a table of operators' changes. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
compatible_from = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", _TEXT, nullable=False),
        sa.Column("via", _TEXT, nullable=False),
        sa.Column("operation", _TEXT, nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("detail", _TEXT, nullable=True),
        sa.Column("filter", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "state IN ('unfinished', 'completed', 'stopped', 'failed')", name=op.f("ck_audit_entries_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_operation", "audit_entries", ["operation", "id"])
    op.create_index("ix_audit_entries_actor", "audit_entries", ["actor", "operation", "id"])
