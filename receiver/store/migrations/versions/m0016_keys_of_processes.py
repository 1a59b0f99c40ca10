"""Processes store by which keys they index metadata. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
compatible_from = "0006"


def upgrade() -> None:
    op.add_column("processes", sa.Column("metadata_keys", sa.JSON()))
