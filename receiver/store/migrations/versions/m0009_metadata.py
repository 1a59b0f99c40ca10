"""The index of metadata, by which lists find one customer's events and jobs. Nothing is indexed yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
compatible_from = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for table, id_, of in (("event_metadata", "event_id", "events"), ("job_metadata", "job_id", "jobs")):
        op.create_table(
            table,
            sa.Column(id_, _TEXT, nullable=False),
            sa.Column("key", _TEXT, nullable=False),
            sa.Column("value", _TEXT, nullable=False),
            sa.ForeignKeyConstraint([id_], [f"{of}.id"], name=op.f(f"fk_{table}_{of}"), ondelete="CASCADE"),
            sa.PrimaryKeyConstraint(id_, "key", name=op.f(f"pk_{table}")),
            sqlite_with_rowid=False,
        )
        op.create_index(f"ix_{table}_pair", table, ["key", "value", id_])
    op.create_table(
        "metadata_keys",
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("event_id", _TEXT, server_default=sa.text("''"), nullable=False),
        sa.Column("job_id", _TEXT, server_default=sa.text("''"), nullable=False),
        sa.Column("completed_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_metadata_keys")),
    )
