"""Lists of events and runs: whatever the filter, what they show, in which order, and what it costs."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from receiver.model.delivery import Delivery
from receiver.model.ids import event_id
from receiver.model.metadata import indexed_pairs
from receiver.model.slots import Slots
from receiver.store import event_pages, inbox, runs, search_plans, short_ids, views
from receiver.store.claims import Claim
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.inbox import Receipt
from receiver.store.runs import RunResult
from receiver.store.states import EVENT_STATES, RunState
from tests.claiming import claim_due
from tests.stores import execute
from tests.unit.store.plans import plans_of, require_flat

NOW = 1_700_000_000.0

Accept = Callable[..., list[Receipt]]
Make = Callable[..., Delivery]


def listed(database: Database, **criteria: Any) -> list[str]:
    return [row["id"] for row in database.query(views.list_events, Filter(**criteria), 100)]


@pytest.fixture
def at(delivery: Make) -> Make:
    """Makes deliveries whose ids have the time at which they were received."""

    def make(job: str, received_at: float, **values: Any) -> Delivery:
        return delivery(job, received_at=received_at, event_id=event_id(received_at, 7), **values)

    return make


def claim(connection: Connection, handler: str) -> Claim:
    (held,) = claim_due(connection, Slots(1, {handler: 1}).free({}), "me", NOW + 100, NOW + 130)
    return held


def end(
    connection: Connection, held: Claim, state: RunState, kind: str | None = None, reason: str | None = None
) -> None:
    due_at = NOW + 9_000 if state is RunState.PENDING else None
    error = None if kind is None else "It failed."
    result = RunResult(held, "me", str(state), state, NOW + 101, due_at, error=error, error_kind=kind, reason=reason)
    runs.finish(connection, [result])


def test_events_are_listed_newest_first_by_any_filter(database: Database, accept: Accept, at: Make) -> None:
    quarantined = at("q", NOW + 1, quarantined=True)
    dead = at("d", NOW + 2, type="job.failed")
    done = at("n", NOW + 3, handlers=(), type="test")
    pending = at("o", NOW + 4, source="other", handlers=("late",))
    accept(quarantined, dead, done, pending)
    database.transact(lambda connection: end(connection, claim(connection, "save_audio"), RunState.DEAD))
    ids = [item.event_id for item in (pending, done, dead, quarantined)]
    assert listed(database) == ids
    assert listed(database, state="quarantined") == [quarantined.event_id]
    assert listed(database, state="dead") == [dead.event_id]
    assert listed(database, state="open") == [pending.event_id]
    assert listed(database, state="done") == [done.event_id]
    assert listed(database, source="other") == [pending.event_id]
    assert listed(database, type="test") == [done.event_id]
    assert listed(database, job="d") == [dead.event_id]
    assert listed(database, after=NOW + 2, before=NOW + 4) == ids[1:3]
    assert [row["id"] for row in database.query(views.list_events, Filter(), 2)] == ids[:2]
    assert database.query(views.event_ids, Filter(), 100) == ids[::-1]
    states = {row["id"]: row["state"] for row in database.query(views.list_events, Filter(), 9)}
    assert [states[id_] for id_ in ids] == ["open", "done", "dead", "quarantined"]


def test_runs_are_listed_by_state_and_handler(database: Database, accept: Accept, delivery: Make) -> None:
    accept(delivery("a", handlers=("x", "y")), delivery("b", handlers=("x",)))
    database.transact(claim, "y")

    def rows(**criteria: Any) -> list[tuple[str, str, str]]:
        found = database.query(views.list_runs, Filter(**criteria), 100)
        return [(row["job_id"], row["handler"], row["state"]) for row in found]

    assert rows() == [("b", "x", "pending"), ("a", "x", "pending"), ("a", "y", "running")]
    assert rows(state="running") == [("a", "y", "running")]
    assert rows(handler="x", job="a") == [("a", "x", "pending")]


def test_an_event_is_found_by_the_start_of_its_id(database: Database, accept: Accept, delivery: Make) -> None:
    accept(*(delivery(f"job_{n}") for n in range(3)))
    assert database.query(short_ids.events_beginning_with, f"evt_{1:032x}") == [f"evt_{1:032x}"]
    assert len(database.query(short_ids.events_beginning_with, "evt_")) == 3
    assert database.query(short_ids.events_beginning_with, "evt_f") == []
    assert database.query(views.get_event, "evt_f") is None


# whatever the filter


SOURCES = ("one", "two")
TYPES = ("job.completed", "job.failed", "test")
HANDLERS = ("x", "y")
ENDS = (RunState.SUCCEEDED, RunState.DEAD, RunState.CANCELLED, RunState.RUNNING, RunState.PENDING)
KINDS = ("rejected", "KeyError")
REASONS = (None, "no_voice", "too_long")


@pytest.fixture
def mixed(database: Database, at: Make) -> Database:
    """Sixty events with every combination of what a filter asks for, and more than one event of a job."""
    rng = random.Random(7)

    def fill(connection: Connection) -> None:
        for n in range(60):
            job = f"job-{n // 3}"
            event = at(
                job, NOW + n // 2, source=SOURCES[n % 2], type=TYPES[n % 3], key=job if n % 4 else f"message-{n}",
                quarantined=n % 7 == 0, handlers=HANDLERS[: n % 3],
            )._replace(event_id=event_id(NOW + n // 2, n << 63 | n))  # fmt: skip
            metadata = {"customer": "acme"} | ({"project": n % 2} if n % 3 else {}) if n % 5 else {}
            event = event._replace(
                payload=json.dumps({"metadata": metadata}), indexed=indexed_pairs(metadata, ("customer", "project"))
            )
            inbox.accept(connection, [event])
            for handler in event.handlers if n % 7 else ():
                state = rng.choice(ENDS)
                failed = state is RunState.DEAD or (state is RunState.PENDING and n % 2)
                if state is RunState.CANCELLED:
                    runs.cancel(connection, [(event.event_id, handler)], NOW)
                elif failed:
                    end(connection, claim(connection, handler), state, rng.choice(KINDS), rng.choice(REASONS))
                elif state is not RunState.PENDING:
                    held = claim(connection, handler)
                    if state is not RunState.RUNNING:
                        end(connection, held, state)

    database.transact(fill)
    return database


def fits(row: dict[str, Any], criteria: Filter) -> bool:
    """The meaning of a filter, its state apart."""
    return (
        criteria.source in (None, row["source"])
        and criteria.type in (None, row["type"])
        and criteria.job in (None, row["key"], row["job_id"])
        and (criteria.after is None or row["received_at"] >= criteria.after)
        and (criteria.before is None or row["received_at"] < criteria.before)
        and (criteria.older_than is None or row["id"] < criteria.older_than)
        and (criteria.newer_than is None or row["id"] > criteria.newer_than)
        and {*criteria.metadata} <= {(key, str(value)) for key, value in row["payload"]["metadata"].items()}
    )


def fits_error(run: dict[str, Any], criteria: Filter) -> bool:
    """Whether the run has the error that the filter asks for, if it does."""
    if criteria.error_kind is None and criteria.reason is None:
        return True
    named = (run["error_kind"] or "", run["reason"] or "")
    return (
        run["error"] is not None
        and criteria.error_kind in (None, named[0])
        and criteria.reason in (None, named[1])
    )  # fmt: skip


def has_run(row: dict[str, Any], criteria: Filter) -> bool:
    """Whether a run of the event has the error: one of those that its state is about."""
    if criteria.error_kind is None and criteria.reason is None:
        return True
    states = {"open": ("pending", "running"), "dead": ("dead",)}.get(criteria.state or "", tuple(RunState))
    return any(run["state"] in states and fits_error(run, criteria) for run in row["runs"])


def everything(database: Database) -> list[dict[str, Any]]:
    def read(connection: Connection) -> list[dict[str, Any]]:
        ids = connection.execute(text("SELECT id FROM events ORDER BY id DESC")).scalars().all()
        return [row for id_ in ids if (row := views.get_event(connection, id_)) is not None]

    return database.query(read)


def some_filters(all_events: list[dict[str, Any]], states: tuple[str, ...], number: int) -> list[Filter]:
    """Of all filters so many, always the same ones."""
    middle = all_events[len(all_events) // 2]["id"]
    all_filters = [
        Filter(
            source, type_, state, job, handler, after, before, older_than=older, newer_than=newer, error_kind=kind,
            reason=reason, metadata=metadata,
        )
        for source, type_, state, job, handler, (after, before), (older, newer), (kind, reason), metadata
        in itertools.product(
            (None, "one", "none"),
            (None, "job.failed"),
            (None, *states),
            (None, None, "job-4"),
            (None, "y", "none"),
            ((None, None), (NOW + 5, NOW + 25), (None, NOW + 9.5)),
            ((None, None), (middle, None), (None, middle)),
            ((None, None), (None, None), ("KeyError", None), (None, "no_voice"), ("rejected", "no_voice"),
             ("KeyError", ""), (None, "")),
            ((), (), (("customer", "acme"),), (("customer", "acme"), ("project", "1"))),
        )
    ]  # fmt: skip
    return random.Random(number).sample(all_filters, number)


def examples(connection: Connection, number: int) -> int:
    """How many filters to try: fewer where each takes a round trip, and its parts are planned anew each time."""
    return number if connection.dialect.name == "sqlite" else number // 5


@pytest.fixture(params=[(100, 1000), ()], ids=["few", "many"])
def counted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of finding what is open of a source: by its runs and by its events."""
    monkeypatch.setattr(search_plans, "COUNT_LIMITS", request.param)


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("searches", [100, 1, 0])
def test_a_list_of_events_shows_the_newest_that_fit_whatever_the_filter(
    mixed: Database, monkeypatch: pytest.MonkeyPatch, searches: int
) -> None:
    """Also where there are too many kinds of events to search for each."""
    monkeypatch.setattr(event_pages, "MAX_SEARCHES", searches)
    all_events = everything(mixed)

    def compare(connection: Connection) -> None:
        for criteria in some_filters(all_events, EVENT_STATES, examples(connection, 150)):
            expected = [
                row
                for row in all_events
                if fits(row, criteria) and criteria.state in (None, row["state"]) and has_run(row, criteria)
            ]
            shown = views.list_events(connection, criteria, 7)
            assert [row["id"] for row in shown] == [row["id"] for row in expected[:7]], criteria
            assert [row["state"] for row in shown] == [row["state"] for row in expected[:7]]
            oldest = views.event_ids(connection, criteria, 5)
            assert oldest == [row["id"] for row in expected[::-1][:5]], criteria

    mixed.query(compare)


@pytest.mark.usefixtures("counted")
def test_a_list_of_runs_shows_those_of_the_newest_events_whatever_the_filter(mixed: Database) -> None:
    all_events = everything(mixed)

    def compare(connection: Connection) -> None:
        for criteria in some_filters(all_events, tuple(RunState), examples(connection, 300)):
            expected = [
                (row["id"], run["handler"], run["state"])
                for row in all_events
                if fits(row, criteria)
                for run in row["runs"]
                if criteria.state in (None, run["state"]) and criteria.handler in (None, run["handler"])
                if fits_error(run, criteria)
            ]
            shown = views.list_runs(connection, criteria, 7)
            assert [(row["event_id"], row["handler"], row["state"]) for row in shown] == expected[:7], criteria

    mixed.query(compare)


@pytest.mark.sqlite
@pytest.mark.parametrize("criteria", [{"source": "one"}, {"type": "test"}, {"state": "quarantined"}, {"state": "open"}])
def test_where_there_are_too_many_kinds_a_list_walks_along_the_ids(
    mixed: Database, monkeypatch: pytest.MonkeyPatch, criteria: dict[str, str]
) -> None:
    """And sorts nothing: a walk that finds a page ends there."""
    monkeypatch.setattr(event_pages, "MAX_SEARCHES", 0)
    require_flat(plans_of(mixed, views.list_events, Filter(**criteria), 5))


def test_pages_of_runs_to_change_are_all_runs_once_oldest_event_first(mixed: Database) -> None:
    wanted = (RunState.DEAD, RunState.SUCCEEDED)
    expected = [
        (row["id"], run["handler"])
        for row in reversed(everything(mixed))
        for run in row["runs"]
        if run["state"] in wanted
    ]
    found: list[tuple[str, str]] = []
    while page := mixed.query(views.runs_of_page, Filter(newer_than=found[-1][0] if found else None), wanted, 4):
        assert len({event for event, _ in page}) <= 4
        found += page
    assert found == expected
    assert len(found) > 8


def test_what_sorts_before_the_end_of_events_is_what_is_there_now(database: Database, accept: Accept, at: Make) -> None:
    accept(at("a", NOW), at("b", NOW + 1))
    end_of = database.query(views.end_of_events)
    accept(at("c", NOW + 2))
    assert len(listed(database)) == 3
    assert len(listed(database, older_than=end_of)) == 2


def test_a_kind_that_code_of_an_earlier_schema_left_behind_is_no_error(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(delivery("a"))
    database.transact(lambda connection: end(connection, claim(connection, "save_audio"), RunState.SUCCEEDED))
    execute(database, "UPDATE runs SET error_kind = 'KeyError', reason = 'no_voice'")
    for criteria in (Filter(error_kind="KeyError"), Filter(reason="no_voice")):
        assert database.query(views.list_runs, criteria, 9) == []
        assert database.query(views.list_events, criteria, 9) == []
    [row] = database.query(views.list_runs, Filter(), 9)
    assert (row["error_kind"], row["reason"]) == (None, None)
    event = database.query(views.get_event, row["event_id"])
    assert event is not None
    assert (event["runs"][0]["error_kind"], event["runs"][0]["reason"]) == (None, None)
