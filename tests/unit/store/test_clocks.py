"""What a clock that was ahead left in the store is moved to where it could be, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, event, insert, select, update

from receiver.model.ids import event_id
from receiver.model.rate_limit import RateLimit
from receiver.model.slots import Slots
from receiver.store import claims, clocks, gauges, inbox, job_leases, jobs, rate_buckets, runs, throttle_state
from receiver.store.claims import Claim
from receiver.store.clocks import SLACK_SECONDS, RequestTimes, TimeBounds
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from receiver.store.leases import Lease, end_leases
from receiver.store.runs import RunResult
from receiver.store.schema import events as events_table
from receiver.store.schema import jobs as jobs_table
from receiver.store.schema import runs as runs_table
from receiver.store.schema import signing_keys
from receiver.store.states import RunState
from tests.claiming import claim_due
from tests.clocks import SetClock
from tests.unit.store.conftest import MakeDelivery
from tests.unit.store.plans import steps_of

NOW = 1_700_000_000.0
HOUR = 3600.0
AHEAD = NOW + HOUR
"""The clock's time before it was set back to NOW."""
WAITS = TimeBounds(
    run_lease=30.0, job_lease=60.0, deadlines={"aitts": 600.0}, request_times={"aitts": RequestTimes(60.0, 2.0)}
)
ROUNDING = 1e-5
"""Seconds by which sums of such times may differ: a float of today's Unix time has steps of 2.4e-7."""
FREE = Slots(4, {"save_audio": None, "notes": None})

Accept = Callable[..., list[Receipt]]


def correct_times(database: Database, now: float = NOW) -> dict[str, int]:
    """As the watch does; how much was moved."""
    moved: dict[str, int] = {}
    for kind, step in clocks.steps(WAITS, SetClock(now)):
        if count := sum(counts(database, step)):
            moved[kind] = count
    return moved


def counts(database: Database, step: clocks.Step) -> Iterator[int]:
    """How many each transaction of a step moves."""
    after = None
    while True:
        rows, after = database.transact(step, after)
        yield rows
        if after is None:
            return


def rows(database: Database, table: Any) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in database.query(lambda c: c.execute(select(table)).all())]


def row(database: Database, table: Any) -> dict[str, Any]:
    [found] = rows(database, table)
    return found


def claim(database: Database, now: float) -> list[Claim]:
    free = FREE.free({}, 0)
    return database.transact(claim_due, free, "one", now, now + WAITS.run_lease)


def finish(database: Database, held: Claim, now: float, wait: float) -> None:
    done = RunResult(held, "one", "failed", RunState.PENDING, now, due_at=now + wait, error="x")
    assert database.transact(runs.finish, [done]) == [True]


# runs


def test_a_run_that_came_before_the_clock_was_set_back_is_due_at_once(
    database: Database, accept: Accept, delivery: MakeDelivery
) -> None:
    accept(delivery(received_at=AHEAD))
    assert claim(database, NOW) == []
    assert correct_times(database)["runs"] == 1
    assert len(claim(database, NOW)) == 1


def test_a_run_that_waits_to_be_tried_again_waits_no_longer_than_it_was_to(
    database: Database, accept: Accept, delivery: MakeDelivery
) -> None:
    accept(delivery(received_at=AHEAD))
    [held] = claim(database, AHEAD)
    finish(database, held, AHEAD, 40.0)
    correct_times(database)
    assert row(database, runs_table)["due_at"] == pytest.approx(NOW + 40)


@pytest.mark.parametrize("wait", [0.0, 40.0, 30 * 86_400.0])
def test_what_is_in_order_stays_as_it_is(
    database: Database, accept: Accept, delivery: MakeDelivery, wait: float
) -> None:
    accept(delivery())
    [held] = claim(database, NOW)
    finish(database, held, NOW, wait)
    before = [rows(database, table) for table in (runs_table, events_table, signing_keys)]
    assert correct_times(database) == {}
    assert correct_times(database, NOW + 5) == {}
    assert [rows(database, table) for table in (runs_table, events_table, signing_keys)] == before


def test_a_run_that_is_replayed_waits_for_nothing(database: Database, accept: Accept, delivery: MakeDelivery) -> None:
    [receipt] = accept(delivery())
    [held] = claim(database, NOW)
    finish(database, held, NOW, 40.0)
    database.transact(runs.cancel, [(receipt.event_id, "save_audio")], NOW)
    database.transact(runs.replay, [(receipt.event_id, "save_audio")], AHEAD)
    correct_times(database)
    assert row(database, runs_table)["due_at"] == NOW


def test_the_lease_of_a_run_ends_a_lease_from_now_at_the_latest(
    database: Database, accept: Accept, delivery: MakeDelivery
) -> None:
    accept(delivery())
    database.transact(claim_due, FREE.free({}, 0), "one", AHEAD, AHEAD + 30)
    assert correct_times(database)["leases"] == 1
    assert database.query(claims.expired, NOW + 29) == []
    assert len(database.query(claims.expired, NOW + 31)) == 1


def test_many_runs_of_several_handlers_are_moved_in_batches(
    database: Database, accept: Accept, delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "BATCH", 7)
    accept(*(delivery(f"job_{n}", received_at=AHEAD, handlers=("notes", "save_audio")) for n in range(20)))
    assert list(counts(database, dict(clocks.steps(WAITS, SetClock(NOW)))["runs"])) == [7, 7, 6, 7, 7, 6, 0]
    assert {found["due_at"] for found in rows(database, runs_table)} == {NOW}


def test_many_jobs_of_several_sources_are_moved_in_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "BATCH", 7)
    for n in range(40):
        source = ("aitts", "other")[n % 2]
        database.transact(jobs.watch, f"job_{n:02}", source, f"{n}", AHEAD, AHEAD, AHEAD + 600)
    moved = list(counts(database, dict(clocks.steps(WAITS, SetClock(NOW)))["jobs"]))
    assert max(moved) == 14, "of each job of aitts its times, and its deadline"
    assert sum(moved) == 60
    found = rows(database, jobs_table)
    assert {row["due_at"] for row in found} == {row["created_at"] for row in found} == {NOW}
    assert {row["deadline_at"] for row in found if row["source"] == "aitts"} == {NOW + 600}


def test_a_clock_that_is_set_forward_ends_no_lease(database: Database, accept: Accept, delivery: MakeDelivery) -> None:
    accept(delivery())
    claim(database, NOW)
    database.transact(jobs.watch, "job_1", "aitts", "a", NOW, NOW, NOW + 600)
    database.transact(job_leases.claim, "aitts", 1, NOW, Lease("me", NOW + 60))
    database.transact(clocks.renew_leases, WAITS, AHEAD)
    assert row(database, runs_table)["lease_until"] == AHEAD + 30
    assert row(database, jobs_table)["lease_until"] == AHEAD + 60


def test_a_step_does_not_give_a_dead_process_its_lease_back(
    database: Database, accept: Accept, delivery: MakeDelivery
) -> None:
    accept(delivery())
    claim(database, NOW)
    database.transact(end_leases, "one")
    database.transact(clocks.renew_leases, WAITS, AHEAD)
    assert len(database.query(claims.expired, AHEAD)) == 1


# jobs and their sources


def watch(database: Database, now: float, first_at: float | None = None) -> None:
    database.transact(jobs.watch, "job_1", "aitts", "a", now, first_at or now, now + 600)


def test_a_job_that_was_begun_before_the_clock_was_set_back_is_due_and_has_its_whole_deadline(
    database: Database,
) -> None:
    watch(database, AHEAD)
    assert correct_times(database)["jobs"] == 2  # its times, and its deadline
    found = row(database, jobs_table)
    assert (found["due_at"], found["created_at"], found["deadline_at"]) == (NOW, NOW, NOW + 600)
    assert len(database.transact(job_leases.claim, "aitts", 1, NOW, Lease("me", NOW + 60))) == 1


@pytest.mark.parametrize("how", ["polled", "given back", "submitted again", "taken on"])
def test_a_job_waits_no_longer_than_it_was_to(database: Database, how: str) -> None:
    if how in ("polled", "given back"):
        watch(database, AHEAD)
    else:
        new = jobs.NewJob(
            id="job_1", source="aitts", request={"text": "x"}, submit_key="k", client_key=None, now=AHEAD,
            deadline_at=AHEAD + 600,
        )  # fmt: skip
        database.transact(jobs.enqueue, new)
    [held] = database.transact(job_leases.claim, "aitts", 1, AHEAD, Lease("me", AHEAD + 60))

    def write(connection: Connection) -> object:
        at = AHEAD + 20
        match how:
            case "polled":
                return job_leases.reschedule(connection, held, at, AHEAD)
            case "given back":
                return job_leases.release(connection, held, at, AHEAD)
            case "submitted again":
                return job_leases.reschedule_submit(connection, held, at, AHEAD, "x", "x", refused=False)
            case _:
                return job_leases.mark_submitted(connection, held, "a", AHEAD, at, AHEAD + 600)

    assert database.transact(write)
    correct_times(database)
    found = row(database, jobs_table)
    assert found["due_at"] == pytest.approx(NOW + 20)
    assert found["submitted_at"] in (None, NOW)


def test_a_job_in_the_hands_of_a_process_that_died_is_taken_up_a_lease_from_now(database: Database) -> None:
    watch(database, AHEAD)
    database.transact(job_leases.claim, "aitts", 1, AHEAD, Lease("me", AHEAD + 60))
    correct_times(database)
    assert database.transact(job_leases.claim, "aitts", 1, NOW + 59, Lease("me", NOW + 119)) == []
    assert len(database.transact(job_leases.claim, "aitts", 1, NOW + 61, Lease("me", NOW + 121))) == 1


def test_a_job_that_has_ended_keeps_its_times(database: Database) -> None:
    watch(database, AHEAD)
    database.transact(jobs.cancel, "job_1", AHEAD)
    before = row(database, jobs_table)
    correct_times(database)
    assert row(database, jobs_table) == before


def test_pauses_and_turns_of_a_source_are_as_long_as_they_were_to_be(database: Database) -> None:
    database.transact(throttle_state.pause, "aitts", AHEAD + 45, "unauthorized", AHEAD)
    database.transact(rate_buckets.record, "aitts", RateLimit(10, 0, AHEAD + 50), AHEAD)
    database.transact(throttle_state.reserve_times, "aitts", 3, AHEAD, 0.5)
    assert correct_times(database)["sources"] == 3
    found = database.query(throttle_state.get, "aitts")
    assert found.pause_until == pytest.approx(NOW + 45)
    bucket = database.query(rate_buckets.get, "aitts").buckets[""]
    assert (bucket.reset_at, bucket.pause_until) == pytest.approx((NOW + 50, NOW + 50))
    assert found.next_request_at == NOW + 2


def test_a_request_time_that_a_caller_waits_for_stays(database: Database) -> None:
    database.transact(throttle_state.reserve_times, "aitts", 100, NOW, 0.5)
    assert correct_times(database) == {}
    assert database.query(throttle_state.get, "aitts").next_request_at == NOW + 50


def test_a_source_is_silent_from_when_the_clock_was_set_back(
    database: Database, accept: Accept, delivery: MakeDelivery
) -> None:
    watch(database, AHEAD)
    database.transact(throttle_state.record_response, "aitts", AHEAD)
    accept(delivery("other", received_at=AHEAD, records_key_use=True))
    correct_times(database)
    assert database.query(gauges.silent_seconds, ["aitts"], NOW + 90) == {"aitts": 90}


def test_an_event_was_received_now_at_the_latest(database: Database, accept: Accept, delivery: MakeDelivery) -> None:
    """How old it is says how long a 404 for its audio may mean that it is not there yet."""
    ahead = delivery("ahead", event_id=event_id(AHEAD, 1), received_at=AHEAD)
    accept(ahead, delivery("old", event_id=event_id(NOW - 9, 1), received_at=NOW - 9))
    assert correct_times(database)["events"] == 1
    assert {found["key"]: found["received_at"] for found in rows(database, events_table)} == {
        "ahead": NOW,
        "old": NOW - 9,
    }


# whatever happens

MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("passes"), st.floats(0, 2 * HOUR)),
        st.tuples(st.just("set"), st.floats(-5 * 86_400, 5 * 86_400)),
        st.tuples(st.just("set while nothing runs"), st.floats(-5 * 86_400, 5 * 86_400)),
        st.tuples(st.just("fails"), st.floats(0, HOUR)),
        st.tuples(st.just("comes"), st.just(0.0)),
    ),
    min_size=1,
    max_size=12,
)


@given(MOVES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_run_waits_for_longer_than_it_was_to_however_the_clock_is_set(
    database: Database, delivery: MakeDelivery, moves: list[tuple[str, float]]
) -> None:
    database.transact(lambda c: c.execute(delete(events_table)))
    now = NOW
    waits: dict[str, float] = {}  # of each event's run
    for number, (move, value) in enumerate(moves):
        if move == "passes":
            now += value
        elif move == "comes":
            made = delivery(f"job_{number}", event_id=event_id(now, number), received_at=now)
            database.transact(inbox.accept, [made])
            waits[made.event_id] = 0.0
        elif move == "fails":
            for held in claim(database, now):
                finish(database, held, now, value)
                waits[held.event_id] = value
        else:
            now += value
            if move == "set":
                database.transact(clocks.renew_leases, WAITS, now)
            correct_times(database, now)
        for found in rows(database, runs_table):
            assert found["due_at"] - now <= waits[found["event_id"]] + SLACK_SECONDS + ROUNDING
    now += max(waits.values(), default=0.0) + SLACK_SECONDS + ROUNDING
    ready = 0
    while claims := claim(database, now):
        ready += len(claims)
    assert ready == len(waits)


# what it costs


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ["leases", "runs", "jobs", "events"])
def test_only_what_is_open_or_new_is_looked_at(database: Database, kind: str) -> None:
    """Not one statement reads a table from end to end."""
    statements: list[tuple[str, Any]] = []

    def read_plans(connection: Connection) -> list[str]:
        cursor = connection.connection.cursor()
        plans = []
        for statement, values in statements:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans += [found[3] for found in cursor.fetchall()]
        return plans

    def note(conn: Any, cursor: Any, statement: str, values: Any, *more: Any) -> None:
        statements.append((statement, values))

    database.transact(
        lambda c: c.execute(
            insert(events_table).values(
                id="evt_1", source="s", type="t", key="k", origin="webhook", status="accepted", payload={}, body=b"",
                headers=[], received_at=NOW,
            )
        )
    )  # fmt: skip
    database.transact(
        lambda c: c.execute(insert(runs_table).values(event_id="evt_1", handler="notes", state="pending", due_at=NOW))
    )
    with database._writer_engine.connect() as connection:
        event.listen(database._writer_engine, "before_cursor_execute", note)
        dict(clocks.steps(WAITS, SetClock(NOW)))[kind](connection, None)
        event.remove(database._writer_engine, "before_cursor_execute", note)
        connection.rollback()
    assert statements
    plans = [plan for plan in database.query(read_plans) if plan.startswith("SCAN")]
    assert all("INDEX" in plan for plan in plans), plans


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ["runs", "jobs", "events"])
@pytest.mark.parametrize("wait", [0.0, 2 * HOUR], ids=["moved", "in order"])
def test_what_was_looked_at_is_not_passed_again(
    database: Database, delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch, kind: str, wait: float
) -> None:
    """Whether it was moved, or may lie so far ahead: a run that waits to be tried again."""
    monkeypatch.setattr(clocks, "BATCH", 20)

    def correct_all_times(connection: Connection) -> None:
        for of_kind, step in clocks.steps(WAITS, SetClock(NOW)):
            after, more = None, of_kind == kind
            while more:
                _, after = step(connection, after)
                more = after is not None

    def add(connection: Connection, first: int, count: int) -> None:
        made = [delivery(f"{n}", event_id=event_id(AHEAD + n, n), received_at=AHEAD) for n in range(first, count)]
        inbox.accept(connection, made)
        for n in range(first, count):
            jobs.watch(connection, f"job_{n:04}", "other", f"o{n}", AHEAD, AHEAD, AHEAD + 600)
        connection.execute(update(runs_table).values(wait_seconds=wait))

    database.transact(add, 0, 200)
    few = steps_of(database, correct_all_times)
    database.transact(add, 200, 800)
    assert steps_of(database, correct_all_times) < 5 * few, "four times as many rows"
