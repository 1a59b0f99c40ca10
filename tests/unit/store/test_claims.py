"""Prefetched claims: what starts and what waits, what is released, and what an ended process leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from receiver.model.delivery import Delivery
from receiver.model.slots import Slots
from receiver.store import claims, leases, runs, turns
from receiver.store.claims import Claim, Claimed, ClaimRequest
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from receiver.store.leases import Lease
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.store.turns import Turn
from tests.claiming import claim_due

NOW = 1_700_000_000.0
LEASE = Lease("me", NOW + 30)
SLOTS = Slots(2, {"save_audio": None})

Accept = Callable[..., list[Receipt]]
Make = Callable[..., Delivery]


@pytest.fixture
def ten(database: Database, accept: Accept, delivery: Make) -> None:
    """Ten due runs, job_0 due first."""
    accept(*(delivery(f"job_{n}", received_at=NOW - 20 + n) for n in range(10)))


def request(running: int = 0, *prefetched: Claim, wanted: int = 3) -> ClaimRequest:
    free = SLOTS.free({"save_audio": running})
    return ClaimRequest(free, LEASE, NOW, {"save_audio": prefetched}, {"save_audio": wanted} if wanted else {})


def claim(database: Database, *args: Any, **options: Any) -> Claimed:
    return database.transact(claims.claim, request(*args, **options))


def rows(database: Database, columns: str = "job_id, state, started_at") -> list[tuple[Any, ...]]:
    statement = f"SELECT {columns} FROM runs JOIN events ON id = event_id ORDER BY runs.due_at"
    return database.query(lambda connection: [tuple(row) for row in connection.execute(text(statement))])


def due(found: list[Claim]) -> list[int]:
    """The numbers of the jobs, which the claims were due in the order of."""
    return [round(held.due_at - (NOW - 20)) for held in found]


def test_the_longest_due_start_and_the_next_are_prefetched(database: Database, ten: None) -> None:
    found = claim(database)
    assert [held.event["job_id"] for held in found.started] == ["job_0", "job_1"]
    assert due(found.prefetched["save_audio"]) == [2, 3, 4]
    assert [held.event for held in found.prefetched["save_audio"]] == [{}] * 3  # no body is held for what waits
    assert found.due_at is None  # nothing could start at once
    assert rows(database) == [
        *((f"job_{n}", "running", NOW) for n in range(2)),
        *((f"job_{n}", "running", None) for n in range(2, 5)),
        *((f"job_{n}", "pending", None) for n in range(5, 10)),
    ]


def test_what_is_prefetched_starts_first_and_more_is_claimed_when_half_of_it_is_used_up(
    database: Database, ten: None
) -> None:
    first = claim(database).prefetched["save_audio"]
    one = claim(database, 1, *first)
    assert (due(one.started), due(one.prefetched["save_audio"])) == ([2], [3, 4])
    two = claim(database, 0, *one.prefetched["save_audio"])
    assert (due(two.started), due(two.prefetched["save_audio"])) == ([3, 4], [5, 6, 7])
    none = claim(database, 2, *two.prefetched["save_audio"])
    assert (none.started, none.prefetched) == ([], two.prefetched)


def test_a_claim_for_a_retry_forgets_when_the_run_started_before(database: Database, ten: None) -> None:
    for held in claim(database, wanted=0).started:
        failed = RunResult(held, "me", "failed", RunState.PENDING, NOW, due_at=NOW - 15.0)
        assert database.transact(runs.finish, [failed]) == [True]
    assert {row[0] for row in rows(database, "started_at")} == {NOW, None}
    claim(database, 2)
    assert len(rows(database)) == 10
    assert {row for row in rows(database, "state, started_at") if row[0] == "running"} == {("running", None)}


def test_what_was_cancelled_or_taken_meanwhile_does_not_start(database: Database, ten: None) -> None:
    first, second, third = claim(database).prefetched["save_audio"]
    assert database.transact(runs.cancel, [(first.event_id, "save_audio")], NOW)
    taken = "UPDATE runs SET lease_owner = 'other' WHERE event_id = :id"
    database.transact(lambda connection: connection.execute(text(taken), {"id": second.event_id}).rowcount)
    found = claim(database, 0, first, second, third)
    assert (found.started, found.lost, due(found.prefetched["save_audio"])) == ([], [first, second], [4, 5, 6])
    assert claim(database, 0, third).started[0].key == third.key


def test_a_cancelled_run_has_the_attempts_that_started(database: Database, ten: None) -> None:
    found = claim(database)
    keys = [(run.event_id, "save_audio") for run in (*found.started, *found.prefetched["save_audio"])]
    assert database.transact(runs.cancel, keys, NOW) == keys
    attempts = [(state, attempt - forgiven) for state, attempt, forgiven in rows(database, "state, attempt, forgiven")]
    assert attempts[:6] == [("cancelled", 1)] * 2 + [("cancelled", 0)] * 3 + [("pending", 0)]


def test_what_is_given_back_is_due_as_before_and_costs_nothing(database: Database, ten: None) -> None:
    prefetched = claim(database).prefetched["save_audio"]
    database.transact(turns.write, Turn("me", releases=prefetched))
    columns = "state, attempt, forgiven, lease_owner, lease_until, crashes"
    assert rows(database, columns)[2:5] == [("pending", 1, 1, None, None, 0)] * 3
    again = database.transact(claim_due, Slots(9, {"save_audio": None}).free({}), "other", NOW, NOW + 30)
    assert due(again[:3]) == [2, 3, 4]
    assert [(held.attempt, held.counted) for held in again[:3]] == [(2, 1)] * 3


def test_what_another_process_holds_is_not_given_back(database: Database, ten: None) -> None:
    prefetched = claim(database).prefetched["save_audio"]
    database.transact(claims.release, prefetched, "other")
    assert [state for _, state, _ in rows(database)][2:5] == ["running"] * 3


def test_of_an_ended_process_only_what_started_has_crashed(database: Database, ten: None) -> None:
    found = claim(database)
    database.transact(leases.end_leases, "me")
    assert database.query(claims.has_expired, NOW)
    assert database.transact(claims.release_expired, NOW) == 3
    assert [held.key for held, _ in database.query(claims.expired, NOW)] == [held.key for held in found.started]
    assert rows(database, "state, attempt, forgiven, crashes")[2:5] == [("pending", 1, 1, 0)] * 3
    assert database.query(lambda connection: connection.execute(text("SELECT * FROM attempts")).all()) == []


def test_no_lease_has_expired_while_none_has_ended(database: Database, ten: None) -> None:
    claim(database)
    assert not database.query(claims.has_expired, NOW + 30)
    assert database.transact(claims.release_expired, NOW + 30) == 0


def test_a_suspect_is_never_prefetched(database: Database, ten: None) -> None:
    database.transact(lambda connection: connection.execute(text("UPDATE runs SET crashes = 2")).rowcount)
    found = claim(database)
    assert (due(found.started), found.prefetched) == ([0], {})


def test_a_turn_writes_results_and_starts_the_next_in_one_transaction(database: Database, ten: None) -> None:
    found = claim(database)
    ended = [RunResult(held, "me", "succeeded", RunState.SUCCEEDED, NOW + 1) for held in found.started]
    written = database.transact(turns.write, Turn("me", ended, request=request(0, *found.prefetched["save_audio"])))
    assert written.held == [True, True]
    assert written.claimed is not None
    assert due(written.claimed.started) == [2, 3]


def test_a_turn_comes_apart_into_what_can_be_written_alone(database: Database, ten: None) -> None:
    found = claim(database)
    ended = [RunResult(held, "me", "succeeded", RunState.SUCCEEDED, NOW + 1) for held in found.started]
    prefetched = found.prefetched["save_audio"]
    turn = Turn("me", ended, prefetched, request())
    assert list(turn.parts()) == [
        Turn("me", [ended[0]]), Turn("me", [ended[1]]), Turn("me", releases=prefetched),
        Turn("me", request=turn.request),
    ]  # fmt: skip
    assert not Turn("me")
