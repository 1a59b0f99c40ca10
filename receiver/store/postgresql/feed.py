"""Statements of the feed. A position is a transaction's number, and the id of the event before it.

A sequence is not in the order of the commits. `events.xid` is the number of the transaction that stored the event, plus
the offset of this cluster (`postgresql.positions`). Every transaction below `pg_snapshot_xmin` has ended, and only
their events are shown: none with a lower number can follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, cast, func, literal_column, select, text, tuple_

from receiver.store.schema import events

Position = tuple[int, str | None]

START: Position = (0, None)

_xid: Any = literal_column("events.xid", BigInteger)
_SHOWN_BELOW = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint + receiver_feed_offset()"
_ENDED = text(f"events.xid < {_SHOWN_BELOW}")
_HIDDEN = text(f"SELECT received_at FROM events WHERE xid >= {_SHOWN_BELOW} ORDER BY xid, id LIMIT 1")  # noqa: S608


def newest(connection: Connection) -> Position:
    """After every event that is shown."""
    statement = select(_xid, events.c.id).where(_ENDED).order_by(_xid.desc(), events.c.id.desc()).limit(1)
    found = connection.execute(statement).first()
    return START if found is None else (found[0], found[1])


def position_of(connection: Connection, event_id: str) -> Position:
    """For an event that does not exist, before the first transaction that stored a later id."""
    row = connection.execute(select(_xid).where(events.c.id == event_id)).scalar()
    if row is not None:
        return int(row), event_id
    near = select(_xid.label("xid")).where(events.c.id > event_id).order_by(events.c.id).limit(10_000).subquery()
    later = connection.execute(select(func.min(near.c.xid))).scalar()
    return newest(connection) if later is None else (int(later) - 1, "~")


def events_after(
    connection: Connection, position: Position, limit: int, columns: Sequence[Any]
) -> list[tuple[Position, dict[str, Any]]]:
    """By the transactions' numbers, then by ids."""
    xid, event_id = position
    later = tuple_(_xid, events.c.id) > tuple_(cast(xid, BigInteger), event_id or "")
    statement = select(_xid.label("xid"), *columns).where(later, _ENDED).order_by(_xid, events.c.id).limit(limit)
    found: list[tuple[Position, dict[str, Any]]] = []
    for item in connection.execute(statement):
        values = dict(item._mapping)
        found.append(((values.pop("xid"), item.id), values))
    return found


def hidden_since(connection: Connection) -> float | None:
    """By the index of the transactions' numbers."""
    at: float | None = connection.execute(_HIDDEN).scalar()
    return at
