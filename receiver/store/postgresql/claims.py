"""Statements of claims: due runs, runs that are held, expired leases, suspects."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from receiver.model.crashes import SUSPECT_CRASHES
from receiver.store.postgresql.arrays import numbers, texts
from receiver.store.postgresql.backlog import Backlog, Backlogs
from receiver.store.postgresql.engine import run_statement
from receiver.store.postgresql.row_locks import BY_KEY, locked_runs

_CLAIMED = "runs.event_id, runs.handler, runs.attempt, runs.forgiven, runs.due_at, runs.crashes"
_SET_CLAIMED = (
    "state = 'running', attempt = attempt + 1, lease_owner = %s, lease_until = %s, started_at = %s, waits_for = NULL"
)
_DUE = f"handler = %s AND state = 'pending' AND crashes < {SUSPECT_CRASHES}"
_EVENT = (
    "events.id, events.source, events.type, events.job_id, events.origin, events.received_at, events.payload::text, "
    "events.body, events.edited_from"
)
# A row that is locked stays where it is, so its place finds it without a search of the primary key. One that another
# transaction has changed since the statement began is left for the next claim.
_CLAIM_WITH = f"""
    WITH due AS MATERIALIZED (
        SELECT ctid, event_id FROM runs WHERE {_DUE} AND due_at >= %s AND due_at <= %s ORDER BY due_at LIMIT %s
        FOR UPDATE SKIP LOCKED
    )
    UPDATE runs SET {_SET_CLAIMED} FROM due{{table}} WHERE runs.ctid = due.ctid
    RETURNING {_CLAIMED}{{columns}}
"""  # noqa: S608 - constants only
_CLAIM = _CLAIM_WITH.format(table="", columns="")
# With the events, which saves a round trip while the runs are locked.
_CLAIM_AND_START = _CLAIM_WITH.format(table=" JOIN events ON events.id = due.event_id", columns=f", {_EVENT}")
_ENTRIES = "SELECT pg_stat_get_xact_tuples_returned('ix_runs_due'::regclass)"
_NEXT_DUE = f"SELECT due_at FROM runs WHERE {_DUE} AND due_at >= %s ORDER BY due_at LIMIT 1"  # noqa: S608
_HOLD_COUNT = "SELECT pg_try_advisory_xact_lock(hashtextextended('receiver: handler ' || %s, 1))"
_COUNT_STARTED = """
    SELECT count(*) FROM runs
    WHERE state = 'running' AND state != 'succeeded' AND handler = %s AND started_at IS NOT NULL
"""
_SUSPECTS = f"runs WHERE crashes >= {SUSPECT_CRASHES} AND state IN ('pending', 'running')"
_NONE_RUNS = f"NOT EXISTS (SELECT 1 FROM {_SUSPECTS} AND state = 'running')"  # noqa: S608 - constants only
_ANY_SUSPECT = f"SELECT 1 FROM {_SUSPECTS} LIMIT 1"  # noqa: S608 - constants only
_HOLD_SUSPECTS = "SELECT pg_advisory_xact_lock(hashtextextended('receiver: suspects', 1))"
_CLAIM_SUSPECT = f"""
    UPDATE runs SET {_SET_CLAIMED}
    WHERE (event_id, handler) = (
        SELECT event_id, handler FROM {_SUSPECTS} AND state = 'pending' AND due_at <= %s
        AND handler = ANY(%s) AND {_NONE_RUNS} ORDER BY due_at LIMIT 1 FOR UPDATE
    )
    RETURNING {_CLAIMED}
"""  # noqa: S608 - constants only
_NEXT_SUSPECT = f"""
    SELECT min(due_at) FROM {_SUSPECTS} AND state = 'pending' AND handler = ANY(%s) AND {_NONE_RUNS}
"""  # noqa: S608 - constants only
_PENDING_AGAIN = "state = 'pending', forgiven = forgiven + 1, lease_owner = NULL, lease_until = NULL"
_MINE = locked_runs("runs.attempt = given.attempt AND runs.lease_owner = %s AND runs.state = 'running'")
_CHANGE_HELD = f"""
    WITH mine AS MATERIALIZED (
        SELECT given.* FROM (
            SELECT * FROM unnest(%s::text[], %s::text[], %s::int[]) AS held (event_id, handler, attempt) {BY_KEY}
        ) AS given, {_MINE}
    )
    UPDATE runs SET {{change}} FROM mine WHERE runs.event_id = mine.event_id AND runs.handler = mine.handler
    RETURNING runs.event_id, runs.handler, runs.attempt
"""  # noqa: S608 - constants only
_START = _CHANGE_HELD.format(change="started_at = %s")
_EXTEND = _CHANGE_HELD.format(change="lease_until = %s")
_RELEASE = _CHANGE_HELD.format(change=_PENDING_AGAIN)
_FACTS = f"SELECT {_EVENT} FROM events WHERE id = ANY(%s)"  # noqa: S608 - constants only
_EXPIRED_LEASE = "state = 'running' AND state != 'succeeded' AND lease_until < %s"
_ANY_EXPIRED = f"SELECT 1 FROM runs WHERE {_EXPIRED_LEASE} LIMIT 1"  # noqa: S608 - constants only
_RELEASE_EXPIRED = f"""
    WITH chosen AS MATERIALIZED (
        SELECT event_id, handler FROM runs WHERE {_EXPIRED_LEASE} AND started_at IS NULL
        ORDER BY event_id, handler FOR UPDATE SKIP LOCKED
    )
    UPDATE runs SET {_PENDING_AGAIN} FROM chosen
    WHERE runs.event_id = chosen.event_id AND runs.handler = chosen.handler RETURNING runs.event_id
"""  # noqa: S608 - constants only
_EXPIRED = f"""
    SELECT event_id, handler, attempt, forgiven, due_at, crashes, started_at, lease_owner FROM runs
    WHERE {_EXPIRED_LEASE} AND started_at IS NOT NULL
"""  # noqa: S608 - constants only

Key = tuple[str, str, int]
_BACKLOGS = "receiver_backlogs"


def claim_due(
    connection: Connection, handler: str, limit: int, now: float, owner: str, until: float, started: float | None
) -> list[Any]:
    """Rows that another transaction has locked are skipped. In no order."""
    statement = _CLAIM if started is None else _CLAIM_AND_START
    with _reading(connection, handler, now) as (backlog, after):
        rows = run_statement(connection, statement, (handler, after, now, limit, owner, until, started), binary=True)
    backlog.claimed([row[4] for row in rows], now, after=after, full=len(rows) == limit)
    return rows


def _backlogs(connection: Connection) -> Backlogs:
    backlogs: Backlogs = connection.info.setdefault(_BACKLOGS, Backlogs())
    return backlogs


def next_due(connection: Connection, handler: str, now: float) -> float | None:
    """One search of the index of pending runs. If that does not show all, the time at which one is to."""
    with _reading(connection, handler, now) as (backlog, after):
        rows = run_statement(connection, _NEXT_DUE, (handler, after))
    found = [float(due_at) for (due_at,) in rows]
    if after == -math.inf:
        for due_at in found:
            backlog.found(due_at)
    elif backlog.complete_at != now:
        found.append(backlog.scan_at)
    return min(found, default=None)


@contextmanager
def _reading(connection: Connection, handler: str, now: float) -> Iterator[tuple[Backlog, float]]:
    """What is known of the handler's pending runs, and the due time from which to read them."""
    backlog = _backlogs(connection).of(handler)
    after = backlog.start_at(now)
    counted = backlog.skips and after == -math.inf
    before = _entries_read(connection) if counted else 0
    yield backlog, after
    if counted:
        backlog.read(_entries_read(connection) - before)


def _entries_read(connection: Connection) -> int:
    """Entries of the index of pending runs that this session has read lately, dead ones included."""
    [(found,)] = run_statement(connection, _ENTRIES)
    return int(found)


def count_started(connection: Connection, handler: str) -> int | None:
    """Waits for no other transaction: deliveries may share this one."""
    [(held,)] = run_statement(connection, _HOLD_COUNT, (handler,))
    if not held:
        return None
    [(found,)] = run_statement(connection, _COUNT_STARTED, (handler,))  # later: its snapshot has what is committed
    return int(found)


def claim_suspect(connection: Connection, handlers: Sequence[str], now: float, owner: str, until: float) -> list[Any]:
    """One transaction at a time looks for a suspect, if there is any. During a backlog it may wait a second more."""
    backlogs = _backlogs(connection)
    if not backlogs.looks_for_suspects(now):
        return []
    found = bool(run_statement(connection, _ANY_SUSPECT))
    backlogs.looked_for_suspects(now, found=found)
    if not found:
        return []
    run_statement(connection, _HOLD_SUSPECTS)
    return run_statement(connection, _CLAIM_SUSPECT, (owner, until, now, now, list(handlers)))


def next_suspect_due(connection: Connection, handlers: Sequence[str]) -> float | None:
    """Reads the index of suspects."""
    [(found,)] = run_statement(connection, _NEXT_SUSPECT, (list(handlers),))
    return None if found is None else float(found)


def start_held(connection: Connection, keys: Sequence[Key], owner: str, at: float) -> list[Any]:
    """Rows are locked in the order of their keys."""
    return run_statement(connection, _START, (*_columns(keys), owner, at))


def extend_held(connection: Connection, keys: Sequence[Key], owner: str, until: float) -> list[Any]:
    """As `start_held`."""
    return run_statement(connection, _EXTEND, (*_columns(keys), owner, until))


def release_held(connection: Connection, keys: Sequence[Key], owner: str) -> list[Any]:
    """As `start_held`."""
    return run_statement(connection, _RELEASE, (*_columns(keys), owner))


def _columns(keys: Sequence[Key]) -> tuple[str, str, str]:
    return texts([key[0] for key in keys]), texts([key[1] for key in keys]), numbers([key[2] for key in keys])


def event_facts(connection: Connection, ids: Collection[str]) -> list[Any]:
    """One statement for all events."""
    return run_statement(connection, _FACTS, (texts(ids),))


def has_expired(connection: Connection, now: float) -> bool:
    """Reads the running ones among the runs that have not succeeded."""
    return bool(run_statement(connection, _ANY_EXPIRED, (now,)))


def release_expired(connection: Connection, now: float) -> int:
    """As `has_expired`. A run that another transaction has locked is being extended, started or released: skipped."""
    return len(run_statement(connection, _RELEASE_EXPIRED, (now,)))


def expired(connection: Connection, now: float) -> list[Any]:
    """As `has_expired`."""
    return run_statement(connection, _EXPIRED, (now,))
