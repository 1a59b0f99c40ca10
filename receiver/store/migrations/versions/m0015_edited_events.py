"""Events that an operator made by editing another. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
compatible_from = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("events", sa.Column("edited_from", _TEXT))
    _create_index("ix_events_edited", ["id"], "origin = 'edited'")
    _create_index("ix_events_edited_from", ["edited_from", "id"], "edited_from IS NOT NULL")


def _create_index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "events", columns, sqlite_where=where, postgresql_where=where)
