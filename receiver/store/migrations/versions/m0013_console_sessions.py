"""Sessions of the console. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
compatible_from = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "console_sessions",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("actor", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("credential", _TEXT, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("client", _TEXT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_console_sessions")),
    )
    op.create_index("ix_console_sessions_actor", "console_sessions", ["actor", "created_at", "id"])
    op.create_index("ix_console_sessions_expires", "console_sessions", ["expires_at", "id"])
