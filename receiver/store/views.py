"""Read models for the API and the command line: lists with filters, and the details of one event. Nothing writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Connection, case, func, select

from receiver.store import edited_events
from receiver.store.distinct import distinct
from receiver.store.event_pages import (
    MAX_SEARCHES,
    UNFINISHED,
    Filter,
    RunCondition,
    page_of_events,
    page_with_runs,
    run_condition,
)
from receiver.store.expressions import exists_for_row
from receiver.store.schema import artifacts, attempts, events, run_tracebacks, runs, signing_keys
from receiver.store.searches import Order
from receiver.store.states import OPEN_STATES, EventStatus, RunState


def _has_run(*states: RunState) -> Any:
    return exists_for_row(runs.c.event_id == events.c.id, runs.c.state.in_(states))


_STATE = case(
    (events.c.status == EventStatus.QUARANTINED, "quarantined"),
    (_has_run(*OPEN_STATES), "open"),
    (_has_run(RunState.DEAD), "dead"),
    else_="done",
).label("state")


AGAIN = "to be tried again"
"""The outcome of a run of which an attempt has failed, and another one is planned."""

MAX_IDS = 500
"""Events that one statement reads, at the most."""

SUMMARY: tuple[Any, ...] = (
    events.c.id, events.c.source, events.c.type, events.c.job_id, events.c.origin, _STATE,
    events.c.received_at, events.c.duplicates, events.c.conflict,
)  # fmt: skip
"""The columns of an event in a list."""


def list_events(
    connection: Connection, filters: Filter, limit: int, order: Order = Order.NEWEST_FIRST
) -> list[dict[str, Any]]:
    """Events that match."""
    found = summaries(connection, page_of_events(connection, filters, limit, order))
    return sorted(found, key=itemgetter("id")) if order is Order.OLDEST_FIRST else found


def summaries(connection: Connection, ids: Sequence[str]) -> list[dict[str, Any]]:
    """These events as in a list, given the newest first."""
    found: list[dict[str, Any]] = []
    for batch in _batches(ids):
        rows = connection.execute(select(*SUMMARY).where(events.c.id.in_(batch)))
        found += sorted((dict(row._mapping) for row in rows), key=itemgetter("id"), reverse=True)
    return found


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS))


def event_ids(connection: Connection, filters: Filter, limit: int) -> list[str]:
    """The ids of the first events that match, oldest first. Pass the last one as `newer_than` for the next page."""
    return page_of_events(connection, filters, limit, Order.OLDEST_FIRST)


def list_ids(connection: Connection, filters: Filter, limit: int, order: Order = Order.NEWEST_FIRST) -> list[str]:
    """The ids of the events of `list_events`; `Order.beyond` the last one is the next page."""
    return page_of_events(connection, filters, limit, order)


def end_of_events(connection: Connection) -> str:
    """A text that sorts after the id of every stored event, for `older_than`."""
    newest = connection.execute(select(func.max(events.c.id))).scalar()
    return f"{newest or ''}~"


def get_event(connection: Connection, event_id: str) -> dict[str, Any] | None:
    """The event's row, with its runs, attempts and artifacts; None if it does not exist.

    A run has its `traceback`: `attempt` and `text`, or None. `edited_to` has the newest events that were made of it.
    """
    row = connection.execute(select(events, _STATE).where(events.c.id == event_id)).first()
    if row is None:
        return None
    found = dict(row._mapping)
    found["edited_to"] = edited_events.made_of(connection, event_id)
    for name, table, order in (
        ("runs", runs, runs.c.handler),
        ("attempts", attempts, attempts.c.number),
        ("artifacts", artifacts, artifacts.c.n),
    ):
        rows = connection.execute(select(table).where(table.c.event_id == event_id).order_by(order))
        found[name] = [dict(item._mapping) for item in rows]
    traced = select(run_tracebacks).where(run_tracebacks.c.event_id == event_id)
    tracebacks = {item.handler: {"attempt": item.attempt, "text": item.text} for item in connection.execute(traced)}
    for run in found["runs"]:
        if run["error"] is None:
            run["error_kind"] = run["reason"] = None  # left by code of an earlier schema
        run["traceback"] = tracebacks.get(run["handler"])
    return found


def signed_events(connection: Connection, ids: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    """The columns by which these events are verified, dispatched and edited; read one by one, in no order."""
    c = events.c
    columns = (
        c.id, c.source, c.type, c.job_id, c.status, c.origin, c.key_id, c.headers, c.body, c.received_at, c.payload,
    )  # fmt: skip
    rows: Iterable[Any] = connection.execute(select(*columns).where(c.id.in_(ids))).mappings()
    return rows


def list_runs(
    connection: Connection, filters: Filter, limit: int, order: Order = Order.NEWEST_FIRST
) -> list[dict[str, Any]]:
    """Runs that match, in the order of their events."""
    run = run_condition(filters, None if filters.state is None else (RunState(filters.state),))
    ids = page_with_runs(connection, filters, run, limit, order)
    found: list[dict[str, Any]] = []
    for batch in _batches(ids):
        if len(found) >= limit:
            break
        found += runs_of(connection, batch, run, order)
    return found[:limit]


def page_of_runs(
    connection: Connection, filters: Filter, limit: int, order: Order = Order.NEWEST_FIRST
) -> tuple[list[dict[str, Any]], str | None]:
    """`list_runs`, never only some of an event's runs; and the last event, if there are more runs beyond it.

    An event that has more than `limit` runs is a page of its own.
    """
    found = list_runs(connection, filters, limit + 1, order)
    if len(found) <= limit:
        return found, None
    cut = found[-1]["event_id"]
    page = [row for row in found if row["event_id"] != cut]
    if page:
        return page, page[-1]["event_id"]
    run = run_condition(filters, None if filters.state is None else (RunState(filters.state),))
    more = page_with_runs(connection, replace(filters, **order.beyond(cut)), run, 1, order)
    return runs_of(connection, [cut], run), cut if more else None


def runs_of(
    connection: Connection, ids: Sequence[str], run: RunCondition, order: Order = Order.NEWEST_FIRST
) -> list[dict[str, Any]]:
    """Those runs of these events that meet the condition, as in a list; the events are given in this order."""
    found: list[dict[str, Any]] = []
    for batch in _batches(ids):
        rows = _runs_of(connection, batch, run)
        rows.sort(key=itemgetter("handler"))
        found += sorted(rows, key=itemgetter("event_id"), reverse=order is Order.NEWEST_FIRST)
    return found


def runs_of_page(
    connection: Connection, filters: Filter, states: Sequence[RunState], limit: int
) -> list[tuple[str, str]]:
    """(event id, handler) of the runs in these states of up to `limit` events, the oldest event first.

    An event's runs are never split between pages. Pass the last event id as `newer_than` for the next page.
    """
    run = run_condition(filters, tuple(states))
    keys: list[tuple[str, str]] = []
    for batch in _batches(page_with_runs(connection, filters, run, limit, Order.OLDEST_FIRST)):
        of_batch = (runs.c.event_id.in_(batch), *run.checks())
        rows = connection.execute(select(runs.c.event_id, runs.c.handler).where(*of_batch))
        keys += sorted((row.event_id, row.handler) for row in rows)
    return keys


def outcomes_of_runs(connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str | None]:
    """How these runs, (event id, handler), have ended since they were replayed; None for each that has not.

    An outcome is the state, `deleted`, or `AGAIN`.
    """
    outcomes: dict[tuple[str, str], str | None] = dict.fromkeys(keys, "deleted")
    for batch in _batches(list(dict.fromkeys(event_id for event_id, _ in keys))):
        columns = runs.c.event_id, runs.c.handler, runs.c.state, runs.c.attempt > runs.c.forgiven
        for event_id, handler, state, failed in connection.execute(select(*columns).where(runs.c.event_id.in_(batch))):
            if (event_id, handler) in outcomes:
                again = AGAIN if failed and state == RunState.PENDING else None
                outcomes[event_id, handler] = again if state in OPEN_STATES else state
    return outcomes


def events_with_runs(
    connection: Connection, filters: Filter, limit: int, order: Order = Order.NEWEST_FIRST
) -> list[str]:
    """The ids of the first events that have a run as in `list_runs`."""
    run = run_condition(filters, None if filters.state is None else (RunState(filters.state),))
    return page_with_runs(connection, filters, run, limit, order)


def _of_error(column: Column[str]) -> Any:
    """The column of a run's error: without an error it has what code of an earlier schema left."""
    return case((runs.c.error.is_not(None), column)).label(column.name)


def _runs_of(connection: Connection, ids: Sequence[str], run: RunCondition) -> list[dict[str, Any]]:
    statement = (
        select(
            runs.c.event_id, events.c.source, events.c.type, events.c.job_id, runs.c.handler, runs.c.state,
            (runs.c.attempt - runs.c.forgiven).label("attempts"), runs.c.due_at, runs.c.started_at, runs.c.finished_at,
            runs.c.result, runs.c.error, _of_error(runs.c.error_kind), _of_error(runs.c.reason), runs.c.crashes,
        )
        .join(events, events.c.id == runs.c.event_id)
        .where(runs.c.event_id.in_(ids), *run.checks())
    )  # fmt: skip
    return [dict(row._mapping) for row in connection.execute(statement)]


def key_uses(connection: Connection) -> dict[tuple[str, str], tuple[float, float]]:
    """When each signing key was first and last used, unix seconds, by (source, key id)."""
    rows = connection.execute(select(signing_keys))
    return {(row.source, row.key_id): (row.first_used_at, row.last_used_at) for row in rows}


def orphaned(connection: Connection, handlers: Collection[str]) -> dict[str, int]:
    """The number of pending runs by handler, for handlers that are not among these: no process will execute them."""
    pending = (UNFINISHED, runs.c.state == str(RunState.PENDING))
    count = select(func.count()).select_from(runs)
    return {
        handler: connection.execute(count.where(*pending, runs.c.handler == handler)).scalar_one()
        for handler in distinct(connection, runs.c.handler, *pending, max_values=MAX_SEARCHES)
        if handler not in handlers
    }
