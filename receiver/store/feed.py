"""New events in the order of their commits, for a reader that must not miss any.

Ids do not have this order: they are created before the commit (docs/adr/0005), so that an event may be committed after
one with a later id. SQLite has one writer at a time and gives a new row the highest rowid plus one. So rowids are in
the order of the commits, and a reader sees all rows up to the newest. Two things change rowids: VACUUM renumbers them,
and the number of the newest row is used again after that row was pruned. The event's id in a cursor detects both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, func, literal_column, select

from receiver.store.schema import events
from receiver.store.views import SUMMARY

FIRST_ROWS = 200
"""How many of the first rows are searched for the place of an event that was pruned."""
NEAR_IDS = 10_000
"""How many of the next ids are searched for the place of any other event that does not exist."""

_row: Any = literal_column("events.rowid", BigInteger)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the order of commits: after this row. `event_id` is None before the first row."""

    row: int = 0
    event_id: str | None = None


def newest(connection: Connection) -> Cursor:
    """The position after the newest event."""
    found = connection.execute(select(_row, events.c.id).where(_row > 0).order_by(_row.desc()).limit(1)).first()
    return Cursor() if found is None else Cursor(*found)


def cursor_of(connection: Connection, event_id: str) -> Cursor:
    """The position after this event.

    If the event does not exist, the position before all events with a later id: no newer event is left out, and a few
    older ones may follow.

    A pruned event was one of the oldest, so that its position is among the first rows. Any other is searched among the
    `NEAR_IDS` next ids: commits are not further out of order, unless a clock was ahead.
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
        current_id = connection.execute(select(events.c.id).where(cursor.row == _row)).scalar()
        if current_id != cursor.event_id:
            cursor = cursor_of(connection, cursor.event_id)
    rows = connection.execute(select(_row.label("row"), *SUMMARY).where(cursor.row < _row).order_by(_row).limit(limit))
    found = []
    for row in rows:
        summary = dict(row._mapping)
        found.append((Cursor(summary.pop("row"), row.id), summary))
    return found
