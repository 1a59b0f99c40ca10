"""Limits for the quarantine: it holds authentic deliveries that are too old or too new. Anyone who recorded them can
send them again.

Separate from the inbox, which has no limit: only deliveries from outside have one. The queries here use an
index of the quarantined events alone.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, delete

from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.inbox import Receipt
from receiver.store.schema import events

BATCH = 500
"""Rows removed in one transaction, so that the intake never waits long for the writer."""

# Literals: SQLite uses a partial index only where it can see that the condition is the index's own.
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM events WHERE status = 'quarantined' AND source = ? LIMIT ?)"
_COUNTS = "SELECT source, count(*) FROM events WHERE status = 'quarantined' GROUP BY source"
_OLD = "SELECT id FROM events WHERE status = 'quarantined' AND received_at < ? LIMIT ?"
_COUNT_OLD = "SELECT count(*) FROM events WHERE status = 'quarantined' AND received_at < ?"

FULL = Receipt("", duplicate=False, quarantined=False, refused=True)


def bounded(max_events: int) -> Callable[[Connection, list[Delivery]], list[Receipt]]:
    """`accept` with this limit: one function object, so that the store's writer batches its calls."""

    def accept_bounded(connection: Connection, deliveries: list[Delivery]) -> list[Receipt]:
        return accept(connection, deliveries, max_events)

    return accept_bounded


def accept(connection: Connection, deliveries: list[Delivery], max_events: int) -> list[Receipt]:
    """`inbox.accept`, but for a delivery that would be one more event in its source's quarantine than `max_events`.

    A copy of a stored event is counted as usual, and a fresh delivery needs no check.

    Returns:
        One receipt a delivery, in order; a refused one has `refused`, and nothing of it is kept.
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


def count_old(connection: Connection, before: float) -> int:
    """How many events `prune` would remove."""
    return int(connection.exec_driver_sql(_COUNT_OLD, (before,)).scalar_one())


def prune(connection: Connection, before: float) -> int:
    """Remove events in quarantine received before `before` (unix seconds). They have no runs and ended no job.

    Returns:
        How many were removed; at most `BATCH`: call again until it is 0.
    """
    ids = list(connection.exec_driver_sql(_OLD, (before, BATCH)).scalars())
    if ids:
        connection.execute(delete(events).where(events.c.id.in_(ids)))
    return len(ids)


def _refused(connection: Connection, deliveries: list[Delivery], max_events: int) -> set[str]:
    """The event ids of the deliveries that no longer fit in the quarantine."""
    stale = [inbox.identity_of(delivery) for delivery in deliveries if delivery.quarantined]
    known = inbox.stored(connection, stale)
    available: dict[str, int] = {}
    refused = set()
    for delivery in deliveries:
        at = inbox.identity_of(delivery)
        if at in known:
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
        known.add(at)
    return refused
