"""New events in the order of their commits: what a reader who must miss nothing goes by.

Ids cannot serve: they are made before the commit (docs/adr/0005), so that an event may appear behind one with a later
id. SQLite has one writer at a time and gives a new row the highest rowid plus one, so that the rowid is the order of
the commits, and what a reader sees is always all of it up to some row. Two things move rowids: VACUUM renumbers them,
and when the newest row has been pruned its number is given again. Both are noticed by the id that stands beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, func, literal_column, select

from receiver.store.schema import events
from receiver.store.views import SUMMARY

FIRST_ROWS = 200
NEAR_IDS = 10_000

_row: Any = literal_column("events.rowid", BigInteger)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the order of commits: behind this row. `event_id` is None before the first of all."""

    row: int = 0
    event_id: str | None = None


def newest(connection: Connection) -> Cursor:
    """The place behind everything that is there."""
    found = connection.execute(select(_row, events.c.id).where(_row > 0).order_by(_row.desc()).limit(1)).first()
    return Cursor() if found is None else Cursor(*found)


def cursor_of(connection: Connection, event_id: str) -> Cursor:
    """The place behind this event.

    Of one that is not there any more, or never was, the place before everything with a later id: nothing newer is left
    out, and a few may come that are older.

    An event that was pruned was one of the oldest, so that the place is among the first rows. Otherwise it is looked
    for among the `NEAR_IDS` next ids: commits are not further out of order, unless a clock was ahead.
    """
    row = connection.execute(select(_row).where(events.c.id == event_id)).scalar()
    if row is not None:
        return Cursor(row, event_id)
    later = _first_later_row(connection, event_id)
    if later is None:
        return newest(connection)
    before = connection.execute(select(_row, events.c.id).where(later > _row).order_by(_row.desc()).limit(1)).first()
    return Cursor() if before is None else Cursor(*before)


def _first_later_row(connection: Connection, event_id: str) -> int | None:
    first = select(_row.label("row"), events.c.id).where(_row > 0).order_by(_row).limit(FIRST_ROWS)
    for row, id_ in connection.execute(first):
        if id_ > event_id:
            return int(row)
    near = select(_row.label("row")).where(events.c.id > event_id).order_by(events.c.id).limit(NEAR_IDS)
    found: int | None = connection.execute(select(func.min(near.subquery().c.row))).scalar()
    return found


def events_after(connection: Connection, cursor: Cursor, limit: int) -> list[tuple[Cursor, dict[str, Any]]]:
    """Up to `limit` events that were committed after the cursor, in that order, each with its own cursor."""
    if cursor.event_id is not None:
        there = connection.execute(select(events.c.id).where(cursor.row == _row)).scalar()
        if there != cursor.event_id:
            cursor = cursor_of(connection, cursor.event_id)
    rows = connection.execute(select(_row.label("row"), *SUMMARY).where(cursor.row < _row).order_by(_row).limit(limit))
    found = []
    for row in rows:
        summary = dict(row._mapping)
        found.append((Cursor(summary.pop("row"), row.id), summary))
    return found
