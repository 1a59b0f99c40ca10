"""The quarantine, which holds authentic deliveries with a timestamp that is too old or too new: counts, and old events.

The queries use an index of quarantined events only. The inbox fills the quarantine, and releases from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, text

from receiver.store.dialect import DIALECTS
from receiver.store.prune import Page, Prunable
from receiver.store.schema import events
from receiver.store.states import EventStatus

# The condition is written out, because SQLite uses a partial index only if the statement contains it.
_COUNT = text(
    "SELECT count(*) FROM (SELECT 1 FROM events WHERE status = 'quarantined' AND source = :source LIMIT :limit) q"
)
_COUNTS = text("SELECT source, count(*) FROM events WHERE status = 'quarantined' GROUP BY source")
_OLD = text(
    "SELECT id, received_at FROM events WHERE status = 'quarantined' AND source = :source AND received_at < :before "
    "AND (received_at, id) > (:at, :id) ORDER BY received_at, id LIMIT :limit"
)
_NEXT_SOURCE = text("SELECT min(source) FROM events WHERE status = 'quarantined' AND source > :source")


def count(connection: Connection, source: str, limit: int) -> int:
    """Events of a source in quarantine, counted up to `limit`."""
    return int(connection.execute(_COUNT, {"source": source, "limit": limit}).scalar_one())


def counts(connection: Connection) -> dict[str, int]:
    """Events in quarantine by source."""
    return {row[0]: row[1] for row in connection.execute(_COUNTS)}


def find_old(connection: Connection, before: float, after: tuple[str, float, str] | None, limit: int) -> Page:
    """Events in quarantine received before `before` (unix seconds), as `Prunable.find`; a page has one source."""
    source, at, id = after or ("", 0.0, "")
    while True:
        values = {"source": source, "before": before, "at": at, "id": id, "limit": limit}
        if rows := connection.execute(_OLD, values).all():
            break
        following: str | None = connection.execute(_NEXT_SOURCE, {"source": source}).scalar()
        if following is None:
            return Page([], None)
        source, at, id = following, 0.0, ""
    return Page([row.id for row in rows], (source, rows[-1].received_at, rows[-1].id))


def delete_old(connection: Connection, before: float, ids: Sequence[str]) -> int:
    """Delete the events among these that are still in quarantine; return how many. They have no runs."""
    DIALECTS[connection.dialect.name].events.hold_events(connection, ids)  # in one order
    old = and_(events.c.status == EventStatus.QUARANTINED, events.c.received_at < before)
    return connection.execute(delete(events).where(events.c.id.in_(ids), old)).rowcount


QUARANTINE = Prunable("quarantined", find_old, delete_old)
