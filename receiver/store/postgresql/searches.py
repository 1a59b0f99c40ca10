"""Queries of searches, each of which can only be carried out by its index.

With conditions such as `source = 'a' ORDER BY id` the server may as well read all events in the order of their ids, and
does where it believes that rows of the source are among the first: then a source without new events costs a scan.
Compared and sorted as a row of all columns of the index, nothing but this index has the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, literal_column, select, tuple_, union, union_all
from sqlalchemy.sql.expression import literal

from receiver.store.searches import IndexSearch, Order


def page(searches: Sequence[IndexSearch], order: Order, limit: int) -> Select[Any] | CompoundSelect[Any]:
    """Each search ends by itself. Otherwise the server reads all their results, to remove what is twice in them."""
    if len(searches) == 1:
        return _select(searches[0], order, limit)
    pages = [_select(search, order, limit) for search in searches]
    id_: ColumnElement[str] = literal_column("id")
    return union(*pages).order_by(id_.desc() if order is Order.NEWEST_FIRST else id_.asc()).limit(limit)


def some(searches: Sequence[IndexSearch], limit: int) -> Select[Any] | CompoundSelect[Any]:
    """One search after the other, each in the order of its index."""
    if len(searches) == 1:
        return _select(searches[0], Order.OLDEST_FIRST, limit)
    return union_all(*(_select(search, Order.OLDEST_FIRST, limit) for search in searches)).limit(limit)


def _select(search: IndexSearch, order: Order, limit: int) -> Select[Any]:
    conditions = [] if search.partial is None else [search.partial]
    columns = [column for column, _ in search.same]
    values = [literal(value, column.type) for column, value in search.same]
    index = [*columns, search.id]
    conditions.append(tuple_(*index) > tuple_(*values, literal(search.after, search.id.type)))
    if search.before is not None:
        conditions.append(tuple_(*index) < tuple_(*values, literal(search.before, search.id.type)))
    elif columns:
        conditions.append(tuple_(*columns) <= tuple_(*values))
    by = [column.desc() if order is Order.NEWEST_FIRST else column.asc() for column in index]
    return select(search.id.label("id")).where(*conditions, *search.checks).order_by(*by).limit(limit)
