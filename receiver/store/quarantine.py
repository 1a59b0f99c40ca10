"""The limit of the quarantine, which holds authentic deliveries with a timestamp that is too old or too new.

It needs a limit because anyone who recorded such deliveries can send them again. Separate from the inbox, which has no
limit: polls use it too. The queries here use an index of quarantined events only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, and_, delete

from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.inbox import Receipt
from receiver.store.prune import Page, Prunable
from receiver.store.schema import events
from receiver.store.states import EventStatus

# Literals, because SQLite uses a partial index only if the statement contains its condition.
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM events WHERE status = 'quarantined' AND source = ? LIMIT ?)"
_COUNTS = "SELECT source, count(*) FROM events WHERE status = 'quarantined' GROUP BY source"
_OLD = (
    "SELECT id, received_at FROM events WHERE status = 'quarantined' AND source = ? AND received_at < ? "
    "AND (received_at, id) > (?, ?) ORDER BY received_at, id LIMIT ?"
)
_NEXT_SOURCE = "SELECT min(source) FROM events WHERE status = 'quarantined' AND source > ?"

FULL = Receipt("", duplicate=False, quarantined=False, refused=True)


def bounded(max_events: int) -> Callable[[Connection, list[Delivery]], list[Receipt]]:
    """`accept` with this limit, as one function object, so that the store's writer batches its calls."""

    def accept_bounded(connection: Connection, deliveries: list[Delivery]) -> list[Receipt]:
        return accept(connection, deliveries, max_events)

    return accept_bounded


def accept(connection: Connection, deliveries: list[Delivery], max_events: int) -> list[Receipt]:
    """`inbox.accept`, which refuses deliveries that would exceed `max_events` in their source's quarantine.

    A duplicate of a stored event is counted as usual, and a fresh delivery needs no check.

    Returns:
        One receipt for each delivery, in order; that of a refused one has `refused`, and nothing of it is stored.
    """
    if not any(delivery.quarantined for delivery in deliveries):
        return inbox.accept(connection, deliveries)
    refused = _refused(connection, deliveries, max_events)
    taken = [delivery for delivery in deliveries if delivery.event_id not in refused]
    receipts = iter(inbox.accept(connection, taken)) if taken else iter(())
    return [FULL if delivery.event_id in refused else next(receipts) for delivery in deliveries]


def counts(connection: Connection) -> dict[str, int]:
    """Events in quarantine by source."""
    return {row[0]: row[1] for row in connection.exec_driver_sql(_COUNTS)}


def find_old(connection: Connection, before: float, after: tuple[str, float, str] | None, limit: int) -> Page:
    """Events in quarantine received before `before` (unix seconds), as `Prunable.find`; a page has one source."""
    source, at, id = after or ("", 0.0, "")
    while not (rows := connection.exec_driver_sql(_OLD, (source, before, at, id, limit)).all()):
        following: str | None = connection.exec_driver_sql(_NEXT_SOURCE, (source,)).scalar()
        if following is None:
            return Page([], None)
        source, at, id = following, 0.0, ""
    return Page([row.id for row in rows], (source, rows[-1].received_at, rows[-1].id))


def delete_old(connection: Connection, before: float, ids: Sequence[str]) -> int:
    """Delete the events among these that are still in quarantine; return how many. They have no runs."""
    old = and_(events.c.status == EventStatus.QUARANTINED, events.c.received_at < before)
    return connection.execute(delete(events).where(events.c.id.in_(ids), old)).rowcount


def _refused(connection: Connection, deliveries: list[Delivery], max_events: int) -> set[str]:
    """The event ids of the deliveries that exceed the limit."""
    stale = [inbox.identity_of(delivery) for delivery in deliveries if delivery.quarantined]
    known = inbox.stored(connection, stale)
    available: dict[str, int] = {}
    refused = set()
    for delivery in deliveries:
        identity = inbox.identity_of(delivery)
        if identity in known:
            continue
        if delivery.quarantined:
            left = available.get(delivery.source)
            if left is None:
                held = connection.exec_driver_sql(_COUNT, (delivery.source, max_events)).scalar_one()
                left = max_events - int(held)
            available[delivery.source] = left - 1 if left > 0 else 0
            if left <= 0:
                refused.add(delivery.event_id)
                continue
        known.add(identity)
    return refused


QUARANTINE = Prunable("quarantined", find_old, delete_old)
