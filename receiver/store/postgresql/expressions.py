"""PostgreSQL's INSERT, and its merge of searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, Table, union
from sqlalchemy.dialects import postgresql


def insert(table: Table) -> postgresql.Insert:
    """An INSERT that may have ON CONFLICT."""
    return postgresql.insert(table)


def merge(searches: Sequence[Select[Any]], by: ColumnElement[str], limit: int) -> CompoundSelect[Any]:
    """Each search ends by itself. Otherwise the server reads all their results, to remove what is twice in them."""
    pages = [search.order_by(by).limit(limit) for search in searches]
    return union(*pages).order_by(by).limit(limit)
