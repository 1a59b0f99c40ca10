"""Store events: each exactly once, with one run for each handler, in one transaction.

This is the hot path. Each statement covers the whole batch, and is compiled once for each batch size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from receiver.model.delivery import Delivery
from receiver.model.duplicates import bodies_contradict, contradicts
from receiver.model.event import OPPOSITE, TERMINAL
from receiver.store import quarantine
from receiver.store.completion import (
    TERMINAL_COLUMNS,
    TerminalEvent,
    WatchedJob,
    complete_jobs,
    complete_watched,
)
from receiver.store.dialect import DIALECTS
from receiver.store.schema import event_metadata, events, runs
from receiver.store.states import EventStatus, RunState

DUPLICATE_DIFFERS = "duplicate_differs"
COMPLETED_AND_FAILED = "completed_and_failed"

Identity = tuple[str, str, str]  # key, source, type: in the order of the constraint


class Receipt(NamedTuple):
    """The outcome of storing a delivery.

    Attributes:
        event_id: the event that the delivery carries, new or stored before.
        duplicate: the event was stored before.
        quarantined: the event is stored and not dispatched.
        released: this delivery released the event from quarantine.
        conflict: a reason for an operator to look at the event; None for none.
        refused: nothing of the delivery is stored, because the quarantine is full.
    """

    event_id: str
    duplicate: bool
    quarantined: bool
    released: bool = False
    conflict: str | None = None
    refused: bool = False


QUARANTINE_FULL = Receipt("", duplicate=False, quarantined=False, refused=True)


def accept(connection: Connection, deliveries: list[Delivery]) -> list[Receipt]:
    """Store deliveries: the first of each identity becomes an event, the others are counted as duplicates.

    Returns:
        One receipt for each delivery, in order. One that is stored again under its event id is no duplicate.
    """
    statements = DIALECTS[connection.dialect.name].events
    known, watched = _look_up(connection, deliveries)
    new: dict[Identity, Delivery] = {}
    for delivery in deliveries:
        identity = identity_of(delivery)
        if identity not in known:
            new.setdefault(identity, delivery)
    conflicts: set[str] = set()
    if new:
        statements.insert_events(connection, new.values())
        statements.insert_runs(connection, [first for first in new.values() if not first.quarantined])
        pairs = [(item.event_id, *pair) for item in new.values() for pair in item.indexed]
        if pairs:
            statements.insert_metadata(connection, event_metadata.name, pairs)
        conflicts = _flag_opposites(connection, new, known)
    if watched:
        complete_watched(connection, watched, _terminal_events(new.values()))
    _record_key_uses(connection, deliveries)
    receipts = []
    for delivery in deliveries:
        identity = identity_of(delivery)
        first = new.get(identity)
        if first is delivery:
            conflict = COMPLETED_AND_FAILED if delivery.event_id in conflicts else None
            receipts.append(
                Receipt(delivery.event_id, duplicate=False, quarantined=delivery.quarantined, conflict=conflict)
            )
        elif first is None and known[identity].id == delivery.event_id:  # the answer to its commit was lost
            quarantined = known[identity].status == EventStatus.QUARANTINED
            other = known.get((delivery.key, delivery.source, OPPOSITE.get(delivery.type, "")))
            conflict = COMPLETED_AND_FAILED if other is not None and other.id < delivery.event_id else None
            receipts.append(Receipt(delivery.event_id, duplicate=False, quarantined=quarantined, conflict=conflict))
        else:
            receipts.append(_count_duplicate(connection, delivery, first or known[identity]))
    return receipts


def bounded(max_quarantined: int) -> Callable[[Connection, list[Delivery]], list[Receipt]]:
    """`accept_bounded` with this limit, as one function object, so that the store's writer batches its calls."""

    def accept_within(connection: Connection, deliveries: list[Delivery]) -> list[Receipt]:
        return accept_bounded(connection, deliveries, max_quarantined)

    return accept_within


def accept_bounded(connection: Connection, deliveries: list[Delivery], max_quarantined: int) -> list[Receipt]:
    """`accept`, which refuses deliveries that would exceed `max_quarantined` in their source's quarantine.

    It needs a limit because anyone who recorded such deliveries can send them again. A duplicate of a stored event is
    counted as usual, and a fresh delivery needs no check.

    Returns:
        One receipt for each delivery, in order; that of a refused one has `refused`, and nothing of it is stored.
    """
    if not any(delivery.quarantined for delivery in deliveries):
        return accept(connection, deliveries)
    refused = _refused(connection, deliveries, max_quarantined)
    taken = [delivery for delivery in deliveries if delivery.event_id not in refused]
    receipts = iter(accept(connection, taken)) if taken else iter(())
    return [QUARANTINE_FULL if delivery.event_id in refused else next(receipts) for delivery in deliveries]


def _refused(connection: Connection, deliveries: list[Delivery], max_quarantined: int) -> set[str]:
    """The event ids of the deliveries that exceed the limit."""
    stale = [delivery for delivery in deliveries if delivery.quarantined]
    sources = {delivery.source for delivery in stale}
    DIALECTS[connection.dialect.name].events.hold_quarantines(connection, sources)  # before they are counted
    known = stored(connection, [identity_of(delivery) for delivery in stale])
    available: dict[str, int] = {}
    refused = set()
    for delivery in deliveries:
        identity = identity_of(delivery)
        if identity in known:
            continue
        if delivery.quarantined:
            left = available.get(delivery.source)
            if left is None:
                left = max_quarantined - quarantine.count(connection, delivery.source, max_quarantined)
            available[delivery.source] = left - 1 if left > 0 else 0
            if left <= 0:
                refused.add(delivery.event_id)
                continue
        known.add(identity)
    return refused


def release(connection: Connection, handlers: Mapping[str, Iterable[str]], now: float) -> set[str]:
    """Release events from quarantine and create their runs; the ids of those that were in quarantine.

    Args:
        handlers: of each event its handlers.
    """
    quarantined = (events.c.id.in_(list(handlers)), events.c.status == EventStatus.QUARANTINED)
    keys = connection.execute(select(events.c.key).where(*quarantined)).scalars().all()
    if not keys:
        return set()
    DIALECTS[connection.dialect.name].events.hold_keys(connection, keys)
    locked = select(events.c.id).where(*quarantined).order_by(events.c.id).with_for_update(key_share=True)
    connection.execute(locked)  # so that two transactions never wait for each other
    accepted = update(events).where(*quarantined).values(status=EventStatus.ACCEPTED).returning(*TERMINAL_COLUMNS)
    released = [TerminalEvent(*row) for row in connection.execute(accepted)]
    rows = [
        {"event_id": event.event_id, "handler": name, "state": RunState.PENDING, "due_at": now}
        for event in released
        for name in handlers[event.event_id]
    ]
    if rows:
        connection.execute(insert(runs), rows)
    complete_jobs(connection, sorted((event for event in released if event.type in TERMINAL), key=lambda e: e.event_id))
    return {event.event_id for event in released}


def _terminal_events(deliveries: Iterable[Delivery]) -> list[TerminalEvent]:
    return [
        TerminalEvent(item.source, item.key, item.type, item.event_id, item.received_at, item.payload)
        for item in deliveries
        if item.type in TERMINAL and not item.quarantined
    ]


def identity_of(delivery: Delivery) -> Identity:
    """The values that identify the delivery's event in the database."""
    return delivery.key, delivery.source, delivery.type


class StoredEvent(NamedTuple):
    """A stored event. `payload` is its JSON text."""

    id: str
    payload: str
    status: str


class _Found(NamedTuple):
    """The stored events and watched jobs with the keys of deliveries."""

    events: dict[Identity, StoredEvent]
    jobs: list[WatchedJob]


def _look_up(connection: Connection, deliveries: Sequence[Delivery]) -> _Found:
    """Read what is stored under the keys of these deliveries: one query for all of them, which usually returns no row.

    That includes events with the same key and another type, such as the opposite end of a job. No other transaction
    stores an event with one of these keys, or watches such a job, until the end of this one.
    """
    keys = list(dict.fromkeys(delivery.key for delivery in deliveries))
    found = _Found({}, [])
    rows = DIALECTS[connection.dialect.name].events.find_by_keys(connection, keys)
    for table, key, source, type_, id_, payload, status in rows:
        if table == "jobs":
            found.jobs.append(WatchedJob(id_, source, key))
        else:
            found.events[key, source, type_] = StoredEvent(id_, payload, status)
    return found


def stored(connection: Connection, identities: Iterable[Identity]) -> set[Identity]:
    """The identities among these that are stored. The query is by key, as in `_look_up`."""
    wanted = set(identities)
    rows = connection.execute(_IDENTITIES, {"keys": list({key for key, _, _ in wanted})})
    return wanted & {(row.key, row.source, row.type) for row in rows}


_IDENTITIES = select(events.c.key, events.c.source, events.c.type).where(
    events.c.key.in_(bindparam("keys", expanding=True))
)


def _flag_opposites(connection: Connection, new: dict[Identity, Delivery], known: Container[Identity]) -> set[str]:
    """Flag the new events whose job also has an event of the opposite end; return their ids."""
    found: set[str] = set()
    for (key, source, type_), first in new.items():
        opposite = OPPOSITE.get(type_)
        if opposite is None:
            continue
        other = key, source, opposite
        if other in known:
            found.add(first.event_id)
        elif other in new:
            found.add(max(first.event_id, new[other].event_id))  # if both are in one batch, the later id is the second
    if found:
        connection.execute(update(events).where(events.c.id.in_(found)).values(conflict=COMPLETED_AND_FAILED))
    return found


def _count_duplicate(connection: Connection, delivery: Delivery, first: Delivery | StoredEvent) -> Receipt:
    """Count a duplicate; flag the event if the duplicate contradicts it; release it if the duplicate is fresh."""
    event_id = first.event_id if isinstance(first, Delivery) else first.id
    quarantined = first.quarantined if isinstance(first, Delivery) else first.status == EventStatus.QUARANTINED
    statements = DIALECTS[connection.dialect.name].events
    other = statements.count_duplicate(connection, event_id, delivery.origin, delivery.body)
    payload = json.loads(first.payload)
    differs = contradicts(payload, json.loads(delivery.payload))
    differs = differs or (other is not None and bodies_contradict(other, delivery.body))
    if differs:
        statements.set_conflict(connection, event_id, DUPLICATE_DIFFERS)
    released = quarantined and not delivery.quarantined
    if released:
        names = delivery.handlers
        if delivery.handlers_for is not None:  # by the payload that the handlers will get
            names = delivery.handlers_for(delivery.type, delivery.source, payload)
        released = bool(release(connection, {event_id: names}, delivery.received_at))
    return Receipt(
        event_id,
        duplicate=True,
        quarantined=quarantined and delivery.quarantined,
        released=released,
        conflict=DUPLICATE_DIFFERS if differs else None,
    )


def _record_key_uses(connection: Connection, deliveries: list[Delivery]) -> None:
    used = {(item.source, item.key_id): item.received_at for item in deliveries if item.key_id and item.records_key_use}
    for (source, key_id), at in used.items():
        DIALECTS[connection.dialect.name].events.record_key_use(connection, source, key_id, at)
