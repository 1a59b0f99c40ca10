"""Queries of searches. SQLite chooses the index whose first columns are compared for equality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, literal_column, select, union, union_all

from receiver.store.searches import IndexSearch, Order


def page(searches: Sequence[IndexSearch], order: Order, limit: int) -> Select[Any] | CompoundSelect[Any]:
    """SQLite reads the searches side by side, each in the order of its index, and stops."""
    id_: ColumnElement[str] = literal_column("id")
    by = id_.desc() if order is Order.NEWEST_FIRST else id_.asc()
    found: Any = _select(searches[0]) if len(searches) == 1 else union(*map(_select, searches))
    return found.order_by(by).limit(limit)  # type: ignore[no-any-return]


def some(searches: Sequence[IndexSearch], limit: int) -> Select[Any] | CompoundSelect[Any]:
    """One search after the other."""
    return union_all(*map(_select, searches)).limit(limit)


def _select(search: IndexSearch) -> Select[Any]:
    conditions = [] if search.partial is None else [search.partial]
    conditions += [column == value for column, value in search.same]
    conditions.append(search.id > search.after)  # always: without a lower bound SQLite plans a scan
    if search.before is not None:
        conditions.append(search.id < search.before)
    return select(search.id.label("id")).where(*conditions, *search.checks)
