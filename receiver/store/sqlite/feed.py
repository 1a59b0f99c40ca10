"""Statements of the feed. A position is a rowid, and the id of the event in that row.

SQLite has one writer at a time and gives a new row the highest rowid plus one. So rowids are in the order of the
commits, and a reader sees all rows up to the newest. Two things change rowids: VACUUM renumbers them, and the number of
the newest row is used again after that row was pruned. The event's id in a position detects both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, func, literal_column, select

from receiver.store.schema import events

Position = tuple[int, str | None]

FIRST_ROWS = 200
"""How many of the first rows are searched for the place of an event that was pruned."""
NEAR_IDS = 10_000
"""How many of the next ids are searched for the place of any other event that does not exist."""
START: Position = (0, None)

_row: Any = literal_column("events.rowid", BigInteger)


def newest(connection: Connection) -> Position:
    """After the highest rowid."""
    found = connection.execute(select(_row, events.c.id).where(_row > 0).order_by(_row.desc()).limit(1)).first()
    return START if found is None else (found[0], found[1])


def position_of(connection: Connection, event_id: str) -> Position:
    """A pruned event was one of the oldest, so that its position is among the first rows. Any other is searched among
    the `NEAR_IDS` next ids: commits are not further out of order, unless a clock was ahead.
    """
    row = connection.execute(select(_row).where(events.c.id == event_id)).scalar()
    if row is not None:
        return int(row), event_id
    later = _first_later_row(connection, event_id)
    if later is None:
        return newest(connection)
    before = connection.execute(select(_row, events.c.id).where(later > _row).order_by(_row.desc()).limit(1)).first()
    return START if before is None else (before[0], before[1])


def _first_later_row(connection: Connection, event_id: str) -> int | None:
    first = select(_row.label("row"), events.c.id).where(_row > 0).order_by(_row).limit(FIRST_ROWS)
    for row, id_ in connection.execute(first):
        if id_ > event_id:
            return int(row)
    near = select(_row.label("row")).where(events.c.id > event_id).order_by(events.c.id).limit(NEAR_IDS)
    found: int | None = connection.execute(select(func.min(near.subquery().c.row))).scalar()
    return found


def events_after(
    connection: Connection, position: Position, limit: int, columns: Sequence[Any]
) -> list[tuple[Position, dict[str, Any]]]:
    """By rowid."""
    row, event_id = position
    if event_id is not None:
        current_id = connection.execute(select(events.c.id).where(row == _row)).scalar()
        if current_id != event_id:
            row, _ = position_of(connection, event_id)
    rows = connection.execute(select(_row.label("row"), *columns).where(row < _row).order_by(_row).limit(limit))
    found = []
    for item in rows:
        values = dict(item._mapping)
        found.append(((values.pop("row"), item.id), values))
    return found


def hidden_since(connection: Connection) -> float | None:
    """None: transactions that write follow one another."""
    return None
