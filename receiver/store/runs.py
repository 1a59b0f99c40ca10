"""The runs' state machine in SQL: claim with a lease, write a result only by who holds the run, give back, replay.

A claim raises the attempt number, which is the fencing token: every later write names (event, handler, attempt, owner)
and touches nothing if somebody else has claimed the run since.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, select, update

from receiver.model.crashes import SUSPECT_CRASHES
from receiver.model.slots import FreeSlots
from receiver.store.schema import events, runs
from receiver.store.states import RunState
from receiver.store.suspects import claim_suspect, next_suspect_due

_NO_SUSPECT = runs.c.crashes < SUSPECT_CRASHES
_PENDING = and_(runs.c.handler == bindparam("of"), runs.c.state == "pending")
_DUE = select(runs.c.event_id).where(_PENDING, runs.c.due_at <= bindparam("now"), _NO_SUSPECT).order_by(runs.c.due_at)
# Made once: to make them for each claim took longer than to execute them.
_CLAIM = (
    update(runs)
    .where(
        _PENDING,
        runs.c.event_id.in_(_DUE.limit(bindparam("available")).with_for_update(skip_locked=True).scalar_subquery()),
    )
    .values(
        state=RunState.RUNNING,
        attempt=runs.c.attempt + 1,
        lease_owner=bindparam("owner"),
        lease_until=bindparam("until"),
        started_at=bindparam("now"),
        waits_for=None,
    )
    .returning(runs.c.event_id, runs.c.handler, runs.c.attempt, runs.c.forgiven, runs.c.due_at, runs.c.crashes)
)
_EVENT: tuple[Any, ...] = (
    events.c.id, events.c.source, events.c.type, events.c.job_id, events.c.origin, events.c.received_at,
    events.c.payload, events.c.body.label("raw"),
)  # fmt: skip
_FACTS = select(*_EVENT).where(events.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that we hold until its lease ends.

    Attributes:
        attempt: the fencing token.
        counted: which attempt this is among those that count, from 1.
        event: the event's row as keyword arguments of `model.event.build_event`.
        crashes: crashes in a row that the run was at work in before.
    """

    event_id: str
    handler: str
    attempt: int
    counted: int
    due_at: float
    started: float
    event: Mapping[str, Any]
    crashes: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """How an attempt ended.

    Attributes:
        outcome: for the attempts table: succeeded, failed, timeout, rejected, retry_later, crashed, released; or
            postponed, which has no row there.
        state: the run's new state; PENDING for another try.
        due_at: when to try again, unix seconds; only for PENDING.
        forgiven: 1 if this attempt does not count.
        result: what the handler returned, as JSON values.
        error: one line for a person, without secrets.
        waits_for: what the run waits for besides its time, for `waiting_runs.finish`.
        crashes: crashes in a row that the run was at work in; 0 after any end but a crash, as it is not a suspect then.
    """

    claim: Claim
    owner: str
    outcome: str
    state: RunState
    ended: float
    due_at: float | None = None
    forgiven: int = 0
    result: Any = None
    error: str | None = None
    crashes: int = 0
    waits_for: str | None = None


def claim(connection: Connection, free: FreeSlots, owner: str, now: float, lease_until: float) -> list[Claim]:
    """Claim due runs, each handler's longest due first, at most as many as can start; of suspects one, if none runs.

    Args:
        free: the slots that are free.
        lease_until: unix seconds until which nobody else claims them.
    """
    left = free.copy()  # if the shared transaction fails, this is called again
    claimed = claim_suspect(connection, left.startable(), owner, now, lease_until)
    for row in claimed:
        left.take(row.handler, 1)
    for handler, available in left.offers():
        values = {"of": handler, "available": available, "now": now, "owner": owner, "until": lease_until}
        taken = connection.execute(_CLAIM, values).all()
        left.take(handler, len(taken))
        claimed += taken
    if not claimed:
        return []
    facts = _event_facts(connection, {row.event_id for row in claimed})
    return [
        Claim(
            row.event_id, row.handler, row.attempt, row.attempt - row.forgiven, row.due_at, now, facts[row.event_id],
            row.crashes,
        )
        for row in claimed
    ]  # fmt: skip


def _event_facts(connection: Connection, ids: set[str]) -> dict[str, dict[str, Any]]:
    rows = connection.execute(_FACTS, {"ids": list(ids)})
    return {row.id: dict(row._mapping) for row in rows}


def finish(connection: Connection, finishes: list[Finish]) -> list[bool]:
    """Write results; False for each that came from an attempt which no longer holds its run."""
    held = [False] * len(finishes)
    left = list(range(len(finishes)))
    while left:
        # Two results of one attempt (its own, and that it crashed) must not meet in one statement.
        turn = {_attempt_key(finishes[index].claim): index for index in reversed(left)}
        for key in _finish_each_once(connection, [finishes[index] for index in turn.values()]):
            held[turn[key]] = True
        left = [index for index in left if index not in turn.values()]
    # A postponed attempt has done no work, and there may be many of them.
    done = [item for item, ours in zip(finishes, held, strict=True) if ours and item.outcome != "postponed"]
    _insert_attempts(connection, done)
    return held


def _attempt_key(claim: Claim) -> tuple[str, str, int]:
    return claim.event_id, claim.handler, claim.attempt


def _finish_each_once(connection: Connection, finishes: list[Finish]) -> list[tuple[str, str, int]]:
    """Write these results, no two of one attempt; the (event, handler, attempt) of those that held their run."""
    values: list[Any] = []
    for item in finishes:
        values += (
            *_attempt_key(item.claim),
            item.owner,
            item.state.value,
            item.claim.due_at if item.due_at is None else item.due_at,
            0.0 if item.due_at is None else max(0.0, item.due_at - item.ended),
            None if item.state is RunState.PENDING else item.ended,
            item.forgiven,
            None if item.result is None else json.dumps(item.result),
            item.error,
            item.crashes,
        )
    written = connection.exec_driver_sql(_finish_statement(len(finishes)), tuple(values))
    return [(event_id, handler, attempt) for event_id, handler, attempt in written]


@lru_cache(maxsize=512)
def _finish_statement(rows: int) -> str:
    """Every result in one statement: a statement a run would be most of the dispatcher's work."""
    row = f"({', '.join('?' * 12)})"
    return f"""
        WITH done (
            event_id, handler, attempt, owner, state, due_at, wait_seconds, finished_at, forgiven, result, error,
            crashes
        )
        AS (VALUES {", ".join([row] * rows)})
        UPDATE runs SET state = done.state, due_at = done.due_at, wait_seconds = done.wait_seconds,
            finished_at = done.finished_at,
            forgiven = runs.forgiven + done.forgiven, result = done.result, error = done.error,
            crashes = done.crashes, lease_owner = NULL, lease_until = NULL
        FROM done
        WHERE runs.event_id = done.event_id AND runs.handler = done.handler AND runs.attempt = done.attempt
            AND runs.lease_owner = done.owner AND runs.state = 'running'
        RETURNING event_id, handler, attempt
    """  # noqa: S608 - placeholders only


def _insert_attempts(connection: Connection, finishes: list[Finish]) -> None:
    values: list[Any] = []
    for item in finishes:
        claim = item.claim
        values += (
            claim.event_id, claim.handler, claim.attempt, claim.started, item.ended, item.outcome, item.error,
        )  # fmt: skip
    if values:
        connection.exec_driver_sql(_attempts_statement(len(finishes)), tuple(values))


@lru_cache(maxsize=512)
def _attempts_statement(rows: int) -> str:
    return (
        "INSERT INTO attempts (event_id, handler, number, started, ended, outcome, error) VALUES "  # noqa: S608
        + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)
    )


def extend(
    connection: Connection, held: Sequence[tuple[str, str, int]], owner: str, lease_until: float
) -> list[tuple[str, str, int]]:
    """Extend the leases of (event, handler, attempt).

    Returns:
        Those that were lost: cancelled, or claimed by somebody else after the lease ended.
    """
    lost = []
    for event_id, handler, attempt in held:
        statement = (
            update(runs)
            .where(
                runs.c.event_id == event_id,
                runs.c.handler == handler,
                runs.c.attempt == attempt,
                runs.c.lease_owner == owner,
                runs.c.state == "running",
            )
            .values(lease_until=lease_until)
        )
        if connection.execute(statement).rowcount != 1:
            lost.append((event_id, handler, attempt))
    return lost


def expired(connection: Connection, now: float) -> list[tuple[Claim, str]]:
    """Runs whose lease has ended without a result, with the owner that let it end.

    Their process died, or could not reach the store for longer than a lease.
    """
    statement = select(
        runs.c.event_id,
        runs.c.handler,
        runs.c.attempt,
        runs.c.forgiven,
        runs.c.due_at,
        runs.c.started_at,
        runs.c.lease_owner,
        runs.c.crashes,
    ).where(runs.c.state == "running", runs.c.lease_until < now)
    return [
        (
            Claim(
                row.event_id, row.handler, row.attempt, row.attempt - row.forgiven, row.due_at, row.started_at, {},
                row.crashes,
            ),
            row.lease_owner,
        )
        for row in connection.execute(statement)
    ]  # fmt: skip


def next_due(connection: Connection, handlers: Iterable[str]) -> float | None:
    """When the next run of these handlers may be claimed, unix seconds; None if none is pending."""
    handlers = list(handlers)
    earliest = [next_suspect_due(connection, handlers)]
    earliest += [
        connection.execute(
            select(runs.c.due_at)
            .where(runs.c.handler == handler, runs.c.state == "pending", _NO_SUSPECT)
            .order_by(runs.c.due_at)
            .limit(1)
        ).scalar()
        for handler in handlers
    ]
    return min((at for at in earliest if at is not None), default=None)


def replay(connection: Connection, event_id: str, handlers: Iterable[str], now: float) -> list[str]:
    """Make the event's runs of these handlers due again, with their attempts given back; missing runs are made.

    A run that is open already is left as it is.

    Returns:
        Names of the handlers whose run was made or made due again.
    """
    renewed = []
    for handler in handlers:
        statement = (
            update(runs)
            .where(
                runs.c.event_id == event_id,
                runs.c.handler == handler,
                runs.c.state.in_([RunState.SUCCEEDED, RunState.DEAD, RunState.CANCELLED]),
            )
            .values(
                state=RunState.PENDING,
                due_at=now,
                wait_seconds=0.0,
                forgiven=runs.c.attempt,
                finished_at=None,
                result=None,
                error=None,
            )
        )
        if connection.execute(statement).rowcount == 1:
            renewed.append(handler)
        elif not connection.execute(
            select(runs.c.handler).where(runs.c.event_id == event_id, runs.c.handler == handler)
        ).first():
            row = {"event_id": event_id, "handler": handler, "state": RunState.PENDING, "due_at": now}
            connection.execute(insert(runs).values(row))
            renewed.append(handler)
    return renewed


def cancel(connection: Connection, event_id: str, handler: str, now: float) -> bool:
    """Cancel an open run; False if it was not open. An attempt on its way loses its lease: its result is discarded."""
    statement = (
        update(runs)
        .where(runs.c.event_id == event_id, runs.c.handler == handler, runs.c.state.in_(["pending", "running"]))
        .values(
            state=RunState.CANCELLED, lease_owner=None, lease_until=None, finished_at=now, error="cancelled by hand"
        )
    )
    return bool(connection.execute(statement).rowcount == 1)
