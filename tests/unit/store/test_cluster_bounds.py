"""A handler's bound of all processes: exact however many claim at once, and free again when a run ends anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, text

from receiver.model.delivery import Delivery
from receiver.model.slots import Slots
from receiver.store import claims, turns
from receiver.store.claims import HELD_SECONDS, Claim, Claimed, ClaimRequest
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from receiver.store.leases import Lease, end_leases
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.store.turns import Turn
from tests.unit.store.conftest import NOW
from tests.unit.store.test_races import at_once

BOUND = 3
RUNS = 60
SLOTS = Slots(8, {"save_audio": BOUND}, {"save_audio": BOUND})

Accept = Callable[..., list[Receipt]]
Make = Callable[..., Delivery]


def request(owner: str, running: int = 0, now: float = NOW) -> ClaimRequest:
    return ClaimRequest(SLOTS.free({"save_audio": running}), Lease(owner, now + 30), now)


def claim(database: Database, owner: str, running: int = 0, now: float = NOW) -> Claimed:
    return database.transact(claims.claim, request(owner, running, now))


def done(claimed: Claim, owner: str) -> RunResult:
    return RunResult(claimed, owner, "succeeded", RunState.SUCCEEDED, NOW)


def take_turn(
    database: Database, owner: str, results: Sequence[RunResult] = (), running: int = 0, claiming: str = "yes"
) -> turns.Written:
    wanted = request(owner, running) if claiming == "yes" else None
    return database.transact(turns.write, Turn(owner, results, request=wanted))


def running_now(connection: Connection) -> int:
    statement = "SELECT count(*) FROM runs WHERE state = 'running' AND started_at IS NOT NULL"
    return int(connection.execute(text(statement)).scalar_one())


@pytest.fixture
def twelve(accept: Accept, delivery: Make) -> None:
    accept(*(delivery(f"job_{n}", received_at=NOW - 20 + n) for n in range(12)))


def test_what_others_run_counts_and_a_full_bound_is_not_asked_again_at_once(database: Database, twelve: None) -> None:
    assert len(claim(database, "a").started) == BOUND
    full = claim(database, "b")
    assert (full.started, full.due_at) == ([], None)


def test_a_place_that_becomes_free_is_taken_in_the_same_turn_or_by_another_process(
    database: Database, twelve: None
) -> None:
    first = claim(database, "a").started
    written = take_turn(database, "a", [done(first[0], "a")], running=2)
    assert written.claimed is not None
    assert len(written.claimed.started) == 1
    take_turn(database, "a", [done(first[1], "a")], running=2, claiming="no")
    assert len(claim(database, "b").started) == 1
    assert database.query(running_now) == BOUND


def test_runs_of_a_dead_process_hold_their_places_until_they_are_recovered(database: Database, twelve: None) -> None:
    claim(database, "a")
    database.transact(end_leases, "a")
    assert claim(database, "b").started == [], "it is not known yet what became of them"
    for crashed, owner in database.query(claims.expired, NOW):
        result = RunResult(crashed, owner, "crashed", RunState.PENDING, NOW, due_at=NOW)
        database.transact(turns.write, Turn(owner, [result]))
    assert len(claim(database, "b").started) == BOUND


def test_a_run_that_is_due_later_is_named_and_other_handlers_are_not_bounded(
    database: Database, accept: Accept, delivery: Make
) -> None:
    slots = Slots(8, {"save_audio": BOUND, "notes": None}, {"save_audio": BOUND})
    accept(*(delivery(f"n_{n}", handlers=("notes",), received_at=NOW - 5) for n in range(5)))
    accept(delivery("later", received_at=NOW + 9))
    found = database.transact(claims.claim, ClaimRequest(slots.free({}), Lease("a", NOW + 30), NOW))
    assert {started.handler for started in found.started} == {"notes"}
    assert len(found.started) == 5
    assert found.due_at == NOW + 9


def test_processes_that_claim_and_finish_at_once_never_pass_the_bound_and_all_runs_end(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(*(delivery(f"job_{n}", received_at=NOW - 20) for n in range(RUNS)))
    peak: list[int] = []

    def work(name: str) -> int:
        rng, held, ended = random.Random(name), [], 0
        while True:
            finished = [held.pop(rng.randrange(len(held))) for _ in range(rng.randint(0, len(held)))]

            def turn(connection: Connection, finished: list[Claim] = finished, running: int = len(held)) -> Any:
                written = turns.write(
                    connection, Turn(name, [done(one, name) for one in finished], request=request(name, running))
                )
                peak.append(running_now(connection))
                return written

            written = database.transact(turn)
            peak.append(database.query(running_now))  # what others committed at the same time
            assert written.claimed is not None
            assert all(written.held)
            ended += len(finished)
            held += written.claimed.started
            if not held and database.query(claims.next_due, ["save_audio"], NOW) is None:
                break
        return ended

    assert sum(at_once(*(lambda name=name: work(name) for name in ("a", "b", "c")))) == RUNS
    assert max(peak) <= BOUND


@contextmanager
def transaction(database: Database) -> Any:
    """A transaction of another process that is not committed yet."""
    with database._writer_engine.connect() as connection, connection.begin():
        yield connection


@pytest.mark.postgresql
def test_a_claim_waits_for_no_other_and_is_tried_again_soon(database: Database, twelve: None) -> None:
    with transaction(database) as other:
        assert len(claims.claim(other, request("a")).started) == BOUND
        meanwhile = claim(database, "b")
        assert meanwhile.started == [], "what the other has started is not to be seen yet"
        assert meanwhile.due_at == NOW + HELD_SECONDS
    assert claim(database, "b", now=NOW + HELD_SECONDS).due_at is None
    assert database.query(running_now) == BOUND


@pytest.mark.postgresql
def test_a_bound_of_one_handler_does_not_hold_up_another(database: Database, accept: Accept, delivery: Make) -> None:
    slots = Slots(8, {"save_audio": 1, "notes": 1}, {"save_audio": 1, "notes": 1})
    accept(*(delivery(f"j_{n}", handlers=("notes", "save_audio"), received_at=NOW - 5) for n in range(2)))
    with transaction(database) as other:
        claims.claim(other, request("a"))
        found = database.transact(claims.claim, ClaimRequest(slots.free({}), Lease("b", NOW + 30), NOW))
        assert [started.handler for started in found.started] == ["notes"]
