"""PostgreSQL's INSERT."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql


def insert(table: Table) -> postgresql.Insert:
    """An INSERT that may have ON CONFLICT."""
    return postgresql.insert(table)
