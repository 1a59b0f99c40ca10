"""An index of quarantined events only, to count and prune them without reading the others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index(
        "ix_events_quarantined",
        "events",
        ["source", "received_at"],
        unique=False,
        sqlite_where=sa.text("status = 'quarantined'"),
    )
