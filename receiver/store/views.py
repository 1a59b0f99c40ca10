"""Read models for people and programs: lists with filters, and everything about one event. No function here writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, case, exists, func, select

from receiver.store.distinct import distinct
from receiver.store.event_pages import (
    MAX_SEARCHES,
    UNFINISHED,
    Filter,
    Order,
    RunCondition,
    page_of_events,
    page_with_runs,
)
from receiver.store.schema import artifacts, attempts, events, runs, signing_keys
from receiver.store.states import OPEN_STATES, EventStatus, RunState


def _has_run(*states: RunState) -> Any:
    return exists().where(runs.c.event_id == events.c.id, runs.c.state.in_(states))


_STATE = case(
    (events.c.status == EventStatus.QUARANTINED, "quarantined"),
    (_has_run(*OPEN_STATES), "open"),
    (_has_run(RunState.DEAD), "dead"),
    else_="done",
).label("state")


PART = 500
"""Events that are read in one statement."""

SUMMARY: tuple[Any, ...] = (
    events.c.id, events.c.source, events.c.type, events.c.job_id, events.c.origin, _STATE,
    events.c.received_at, events.c.duplicates, events.c.conflict,
)  # fmt: skip
"""The columns of an event in a list."""


def list_events(connection: Connection, which: Filter, limit: int) -> list[dict[str, Any]]:
    """Newest first."""
    return _summaries(connection, page_of_events(connection, which, limit))


def _summaries(connection: Connection, ids: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for some in _in_parts(ids):
        rows = connection.execute(select(*SUMMARY).where(events.c.id.in_(some)))
        found += sorted((dict(row._mapping) for row in rows), key=itemgetter("id"), reverse=True)
    return found


def _in_parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + PART] for start in range(0, len(ids), PART))


def event_ids(connection: Connection, which: Filter, limit: int) -> list[str]:
    """Ids of the first events that fit, oldest first. With the last of them as `newer_than` come the next ones."""
    return page_of_events(connection, which, limit, Order.OLDEST_FIRST)


def end_of_events(connection: Connection) -> str:
    """What the id of every event that is there now sorts before, for `older_than`."""
    newest = connection.execute(select(func.max(events.c.id))).scalar()
    return f"{newest or ''}~"


def find_event(connection: Connection, prefix: str) -> list[str]:
    """Ids that start so; at most two, which is enough to see that a prefix is not unique."""
    at = events.c.id
    statement = select(at).where(at >= prefix, at < prefix + "\U0010ffff").order_by(at).limit(2)
    return list(connection.execute(statement).scalars())


def get_event(connection: Connection, event_id: str) -> dict[str, Any] | None:
    """The event's row, with its runs, attempts and artifacts."""
    row = connection.execute(select(events, _STATE).where(events.c.id == event_id)).first()
    if row is None:
        return None
    found = dict(row._mapping)
    for name, table, order in (
        ("runs", runs, runs.c.handler),
        ("attempts", attempts, attempts.c.number),
        ("artifacts", artifacts, artifacts.c.n),
    ):
        rows = connection.execute(select(table).where(table.c.event_id == event_id).order_by(order))
        found[name] = [dict(item._mapping) for item in rows]
    return found


def signed_events(connection: Connection, ids: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    """What these events' signatures are checked by, and their types and statuses; read one by one, in no order."""
    c = events.c
    columns = (c.id, c.source, c.type, c.status, c.origin, c.key_id, c.headers, c.body, c.received_at)
    rows: Iterable[Any] = connection.execute(select(*columns).where(c.id.in_(ids))).mappings()
    return rows


def list_runs(connection: Connection, which: Filter, limit: int) -> list[dict[str, Any]]:
    """Newest event first."""
    run = RunCondition(None if which.state is None else (RunState(which.state),), which.handler)
    ids = page_with_runs(connection, which, run, limit)
    found: list[dict[str, Any]] = []
    for some in _in_parts(ids):
        if len(found) >= limit:
            break
        rows = _runs_of(connection, some, run)
        rows.sort(key=itemgetter("handler"))
        found += sorted(rows, key=itemgetter("event_id"), reverse=True)
    return found[:limit]


def runs_of_page(
    connection: Connection, which: Filter, states: Sequence[RunState], limit: int
) -> list[tuple[str, str]]:
    """(event id, handler) of the runs in these states that up to `limit` events have, the oldest event first.

    All such runs of each event: with the last of the ids as `newer_than` come the next ones.
    """
    run = RunCondition(tuple(states), which.handler)
    keys: list[tuple[str, str]] = []
    for some in _in_parts(page_with_runs(connection, which, run, limit, Order.OLDEST_FIRST)):
        rows = connection.execute(select(runs.c.event_id, runs.c.handler).where(*_such(some, run)))
        keys += sorted((row.event_id, row.handler) for row in rows)
    return keys


def _such(ids: Sequence[str], run: RunCondition) -> list[Any]:
    conditions: list[Any] = [runs.c.event_id.in_(ids)]
    if run.states is not None:
        conditions.append(runs.c.state.in_(run.states))
    if run.handler is not None:
        conditions.append(runs.c.handler == run.handler)
    return conditions


def _runs_of(connection: Connection, ids: Sequence[str], run: RunCondition) -> list[dict[str, Any]]:
    statement = (
        select(
            runs.c.event_id, events.c.source, events.c.type, events.c.job_id, runs.c.handler, runs.c.state,
            (runs.c.attempt - runs.c.forgiven).label("attempts"), runs.c.due_at, runs.c.started_at, runs.c.finished_at,
            runs.c.result, runs.c.error, runs.c.crashes,
        )
        .join(events, events.c.id == runs.c.event_id)
        .where(*_such(ids, run))
    )  # fmt: skip
    return [dict(row._mapping) for row in connection.execute(statement)]


def key_uses(connection: Connection) -> dict[tuple[str, str], tuple[float, float]]:
    """(source, key id) to when it was first and last used, unix seconds."""
    rows = connection.execute(select(signing_keys))
    return {(row.source, row.key_id): (row.first_used_at, row.last_used_at) for row in rows}


def orphaned(connection: Connection, handlers: Collection[str]) -> dict[str, int]:
    """Open runs of handlers that are not among these: nobody will ever run them."""
    pending = (UNFINISHED, runs.c.state == str(RunState.PENDING))
    count = select(func.count()).select_from(runs)
    return {
        handler: connection.execute(count.where(*pending, runs.c.handler == handler)).scalar_one()
        for handler in distinct(connection, runs.c.handler, *pending, max_values=MAX_SEARCHES)
        if handler not in handlers
    }
