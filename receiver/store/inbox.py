"""Store events: each exactly once, with one run for each handler, in one transaction.

This is the hot path. Each statement covers the whole batch, and is compiled once for each batch size.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, case, insert, select, update
from sqlalchemy.dialects import sqlite

from receiver.model.delivery import Delivery
from receiver.model.duplicates import bodies_contradict, contradicts
from receiver.model.event import OPPOSITE, TERMINAL
from receiver.store.completion import TerminalEvent, WatchedJob, complete_jobs, complete_watched
from receiver.store.schema import events, runs, signing_keys
from receiver.store.sqlite.engine import run_statement
from receiver.store.states import EventStatus, RunState

_EVENT_COLUMNS = (
    "id", "source", "type", "key", "job_id", "origin", "payload", "body", "headers", "key_id", "skew", "received_at",
    "status",
)  # fmt: skip
"""All but the last are the first fields of a `Delivery`, in its order."""
_EVENT_FIELDS = len(_EVENT_COLUMNS) - 1
_RUN_COLUMNS = ("event_id", "handler", "state", "due_at")
_MAX_VALUES = 8000 * len(_RUN_COLUMNS)
"""SQLite allows 32,766 values in a statement. A full batch of events has fewer; its runs may have more."""

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


def accept(connection: Connection, deliveries: list[Delivery]) -> list[Receipt]:
    """Store deliveries: the first of each identity becomes an event, the others are counted as duplicates.

    Returns:
        One receipt for each delivery, in order.
    """
    known, watched = _look_up(connection, deliveries)
    new: dict[Identity, Delivery] = {}
    for delivery in deliveries:
        identity = identity_of(delivery)
        if identity not in known:
            new.setdefault(identity, delivery)
    conflicts: set[str] = set()
    if new:
        _insert_events(connection, new.values())
        _insert_runs(connection, [first for first in new.values() if not first.quarantined])
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
        else:
            receipts.append(_count_duplicate(connection, delivery, first or known[identity]))
    return receipts


def release(connection: Connection, event_id: str, handlers: Iterable[str], now: float) -> bool:
    """Release an event from quarantine and create its runs; False if it was not in quarantine."""
    statement = (
        update(events)
        .where(events.c.id == event_id, events.c.status == EventStatus.QUARANTINED)
        .values(status=EventStatus.ACCEPTED)
    )
    if connection.execute(statement).rowcount != 1:
        return False
    rows = [{"event_id": event_id, "handler": name, "state": RunState.PENDING, "due_at": now} for name in handlers]
    if rows:
        connection.execute(insert(runs), rows)
    columns = (events.c.source, events.c.key, events.c.type, events.c.id, events.c.received_at)
    event = TerminalEvent(*connection.execute(select(*columns).where(events.c.id == event_id)).one())
    if event.type in TERMINAL:
        complete_jobs(connection, [event])
    return True


def _terminal_events(deliveries: Iterable[Delivery]) -> list[TerminalEvent]:
    return [
        TerminalEvent(item.source, item.key, item.type, item.event_id, item.received_at)
        for item in deliveries
        if item.type in TERMINAL and not item.quarantined
    ]


def identity_of(delivery: Delivery) -> Identity:
    """The values that identify the delivery's event in the database."""
    return delivery.key, delivery.source, delivery.type


def _insert_events(connection: Connection, deliveries: Collection[Delivery]) -> None:
    """Insert events that do not exist: no other process writes during this transaction."""
    values: list[Any] = []
    for item in deliveries:
        values += item[:_EVENT_FIELDS]
        values.append("quarantined" if item.quarantined else "accepted")
    run_statement(connection, _event_insert(len(deliveries)), values)


def _insert_runs(connection: Connection, deliveries: list[Delivery]) -> None:
    values: list[Any] = []
    for item in deliveries:
        for name in item.handlers:
            values += (item.event_id, name, "pending", item.received_at)
    for start in range(0, len(values), _MAX_VALUES):
        part = values[start : start + _MAX_VALUES]
        run_statement(connection, _run_insert(len(part) // len(_RUN_COLUMNS)), part)


# One statement for the whole batch: the driver releases the interpreter's lock once, not once for each row. Its text
# differs only in the number of rows, so that the driver's cache has the usual sizes.
#
# OR FAIL: the rows before a refused one stay, but the exception ends the transaction with all of them. Otherwise SQLite
# would copy each page that the statement changes, to undo it alone: to a temporary file above 64 KB.


@lru_cache(maxsize=1024)
def _event_insert(rows: int) -> str:
    return _insert_statement("events", _EVENT_COLUMNS, rows)


@lru_cache(maxsize=1024)
def _run_insert(rows: int) -> str:
    return _insert_statement("runs", _RUN_COLUMNS, rows)


def _insert_statement(table: str, columns: Sequence[str], rows: int) -> str:
    one = f"({', '.join('?' * len(columns))})"
    return f"INSERT OR FAIL INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * rows)}"  # noqa: S608 - constants


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

    That includes events with the same key and another type, such as the opposite end of a job. The query is by key
    alone, because SQLite scans the table for row values.
    """
    keys = list(dict.fromkeys(delivery.key for delivery in deliveries))
    found = _Found({}, [])
    for table, key, source, type_, id_, payload, status in run_statement(connection, _by_key(len(keys)), keys):
        if table == "jobs":
            found.jobs.append(WatchedJob(id_, source, key))
        else:
            found.events[key, source, type_] = StoredEvent(id_, payload, status)
    return found


@lru_cache(maxsize=1024)
def _by_key(keys: int) -> str:
    marks = ", ".join(f"?{number}" for number in range(1, keys + 1))
    return (
        f"SELECT 'events', key, source, type, id, payload, status FROM events WHERE key IN ({marks}) "  # noqa: S608
        f"UNION ALL SELECT 'jobs', job_id, source, NULL, id, NULL, NULL FROM jobs "
        f"WHERE job_id IN ({marks}) AND state = 'watching'"
    )


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
    [(other,)] = run_statement(connection, _COUNT_DUPLICATE, (event_id, delivery.origin, delivery.body))
    differs = contradicts(json.loads(first.payload), json.loads(delivery.payload))
    differs = differs or (other is not None and bodies_contradict(other, delivery.body))
    if differs:
        run_statement(connection, _SET_CONFLICT, (DUPLICATE_DIFFERS, event_id))
    released = quarantined and not delivery.quarantined
    if released:
        released = release(connection, event_id, delivery.handlers, delivery.received_at)
    return Receipt(
        event_id,
        duplicate=True,
        quarantined=quarantined and delivery.quarantined,
        released=released,
        conflict=DUPLICATE_DIFFERS if differs else None,
    )


_COUNT_DUPLICATE = """
    UPDATE events SET duplicates = duplicates + 1 WHERE id = ?
    RETURNING CASE WHEN origin = ? AND body != ? THEN body END
"""
"""Returns the event's body if the duplicate has the same origin and a different body; most have the same."""
_SET_CONFLICT = "UPDATE events SET conflict = coalesce(conflict, ?) WHERE id = ?"

_RECORD_KEY_USE = sqlite.insert(signing_keys)
_RECORD_KEY_USE = _RECORD_KEY_USE.on_conflict_do_update(
    index_elements=["source", "key_id"],
    set_={
        "last_used_at": case(
            (
                _RECORD_KEY_USE.excluded.last_used_at > signing_keys.c.last_used_at,
                _RECORD_KEY_USE.excluded.last_used_at,
            ),
            else_=signing_keys.c.last_used_at,
        )
    },
)


def _record_key_uses(connection: Connection, deliveries: list[Delivery]) -> None:
    used = {(item.source, item.key_id): item.received_at for item in deliveries if item.key_id and item.records_key_use}
    for (source, key_id), at in used.items():
        connection.execute(
            _RECORD_KEY_USE, {"source": source, "key_id": key_id, "first_used_at": at, "last_used_at": at}
        )
