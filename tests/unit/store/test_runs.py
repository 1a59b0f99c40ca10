"""Runs: claimed with a lease, ended only by who holds them, given back, replayed, cancelled, counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from receiver.model.delivery import Delivery
from receiver.model.slots import Slots
from receiver.store import claims, gauges, runs, views, waiting_runs
from receiver.store.claims import Claim
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.store.waiting_runs import AUDIO_STORAGE
from tests.claiming import claim_due

NOW = 1_700_000_000.0
LEASE = 30.0

Accept = Callable[..., list[Receipt]]
Make = Callable[..., Delivery]


def claim(database: Database, owner: str = "me", now: float = NOW, limit: int = 10, **free: int) -> list[Claim]:
    slots = Slots(limit, free or {"save_audio": 10}).free({})
    return database.transact(claim_due, slots, owner, now, now + LEASE)


def end(held: Claim, state: RunState = RunState.SUCCEEDED, owner: str = "me", **values: Any) -> RunResult:
    return RunResult(held, owner, values.pop("outcome", str(state)), state, values.pop("ended", NOW + 1), **values)


def finish(database: Database, *results: RunResult) -> list[bool]:
    return database.transact(runs.finish, list(results))


def get_run(database: Database, event_id: str, handler: str = "save_audio") -> dict[str, Any]:
    event = database.query(views.get_event, event_id)
    assert event is not None
    return next(run for run in event["runs"] if run["handler"] == handler)


def attempts(database: Database, event_id: str) -> list[tuple[int, str]]:
    event = database.query(views.get_event, event_id)
    assert event is not None
    return [(row["number"], row["outcome"]) for row in event["attempts"]]


@pytest.fixture
def stored(accept: Accept, delivery: Make) -> str:
    """The id of an event with one pending run."""
    return accept(delivery())[0].event_id


def test_a_claim_has_the_event_and_holds_the_run(database: Database, stored: str) -> None:
    [held] = claim(database)
    assert (held.event_id, held.handler, held.attempt, held.counted) == (stored, "save_audio", 1, 1)
    assert held.event["payload"] == {"status": "completed"}
    assert held.event["job_id"] == "job_1"
    run = get_run(database, stored)
    assert (run["state"], run["lease_owner"], run["lease_until"]) == ("running", "me", NOW + LEASE)
    assert claim(database, "other") == []


def test_the_longest_due_is_claimed_first_and_bounds_are_kept(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(*(delivery(f"job_{n}", received_at=NOW - n, handlers=("a", "b")) for n in range(5)))
    assert [held.event["job_id"] for held in claim(database, a=1)] == ["job_4"]
    assert sorted(held.event["job_id"] for held in claim(database, a=2)) == ["job_2", "job_3"]
    assert [held.handler for held in claim(database, limit=3, a=1, b=9)].count("b") == 2
    taken = Slots(9, {"a": 2}).free({"a": 2})
    assert database.transact(claim_due, taken, "me", NOW, NOW + LEASE) == []
    assert claim(database, c=5) == []


def test_what_is_not_due_yet_is_not_claimed(database: Database, stored: str) -> None:
    assert claim(database, now=NOW - 0.001) == []
    assert len(claim(database, now=NOW)) == 1


def test_a_success_is_written_with_its_result(database: Database, stored: str) -> None:
    [held] = claim(database)
    assert finish(database, end(held, result={"file": "a.wav"})) == [True]
    run = get_run(database, stored)
    assert (run["state"], run["result"], run["finished_at"]) == ("succeeded", {"file": "a.wav"}, NOW + 1)
    assert (run["lease_owner"], run["lease_until"]) == (None, None)
    assert attempts(database, stored) == [(1, "succeeded")]
    assert claim(database, now=NOW + 9999) == []


def test_a_failure_makes_the_run_due_later(database: Database, stored: str) -> None:
    [held] = claim(database)
    again = end(held, RunState.PENDING, outcome="failed", due_at=NOW + 60, error="no disk")
    assert finish(database, again) == [True]
    run = get_run(database, stored)
    assert (run["state"], run["due_at"], run["error"], run["finished_at"]) == ("pending", NOW + 60, "no disk", None)
    assert claim(database, now=NOW + 59) == []
    [second] = claim(database, now=NOW + 60)
    assert (second.attempt, second.counted) == (2, 2)


def test_a_result_counts_only_from_the_attempt_that_holds_the_run(database: Database, stored: str) -> None:
    [held] = claim(database)
    stale = [
        end(held._replace(attempt=0)),
        end(held._replace(attempt=2)),
        end(held, owner="other"),
        end(held._replace(handler="log")),
        end(held._replace(event_id="evt_none")),
    ]
    assert finish(database, *stale) == [False] * 5
    assert get_run(database, stored)["state"] == "running"
    assert attempts(database, stored) == []
    assert finish(database, end(held), end(held, RunState.DEAD)) == [True, False]
    assert get_run(database, stored)["state"] == "succeeded"
    assert attempts(database, stored) == [(1, "succeeded")]


def test_an_attempt_whose_lease_ended_cannot_overwrite_its_successor(database: Database, stored: str) -> None:
    [slow] = claim(database, "slow")
    later = NOW + LEASE + 1
    [(crashed, owner)] = database.query(claims.expired, later)
    assert (crashed.event_id, crashed.attempt, owner) == (stored, 1, "slow")
    released = RunResult(crashed, owner, "crashed", RunState.PENDING, later, due_at=later, crashes=1)
    assert finish(database, released) == [True]
    [quick] = claim(database, "quick", later)
    assert (quick.attempt, quick.counted) == (2, 2)
    assert finish(database, end(slow, owner="slow", result="old")) == [False]
    assert finish(database, end(quick, owner="quick", result="new")) == [True]
    assert get_run(database, stored)["result"] == "new"
    assert attempts(database, stored) == [(1, "crashed"), (2, "succeeded")]


def test_a_lease_that_has_not_ended_is_not_expired(database: Database, stored: str) -> None:
    claim(database)
    assert database.query(claims.expired, NOW + LEASE) == []


def test_extending_a_lease_keeps_it_and_names_what_was_lost(
    database: Database, accept: Accept, delivery: Make, stored: str
) -> None:
    other = accept(delivery("job_2"))[0].event_id
    claim(database)
    held = [(stored, "save_audio", 1), (other, "save_audio", 1)]
    assert database.transact(runs.cancel, [(other, "save_audio")], NOW)
    assert database.transact(claims.extend, held, "me", NOW + 99) == [(other, "save_audio", 1)]
    assert database.query(claims.expired, NOW + 98) == []
    assert get_run(database, stored)["lease_until"] == NOW + 99
    assert database.transact(claims.extend, held[:1], "other", NOW + 999) == held[:1]


def test_a_forgiven_attempt_does_not_count(database: Database, stored: str) -> None:
    [held] = claim(database)
    finish(database, end(held, RunState.PENDING, outcome="released", due_at=NOW, forgiven=1))
    [again] = claim(database)
    assert (again.attempt, again.counted) == (2, 1)


def test_a_replay_gives_the_attempts_back_and_keeps_their_history(database: Database, stored: str) -> None:
    [held] = claim(database)
    finish(database, end(held, RunState.DEAD, error="broken"))
    assert database.transact(runs.replay, [(stored, "save_audio")], NOW + 5) == [(stored, "save_audio")]
    run = get_run(database, stored)
    assert (run["state"], run["due_at"], run["error"], run["finished_at"]) == ("pending", NOW + 5, None, None)
    [again] = claim(database, now=NOW + 5)
    assert (again.attempt, again.counted) == (2, 1)
    finish(database, end(again, ended=NOW + 6))
    assert attempts(database, stored) == [(1, "dead"), (2, "succeeded")]


def test_a_replay_leaves_open_runs_alone_and_makes_missing_ones(database: Database, stored: str) -> None:
    both = [(stored, "save_audio"), (stored, "log")]
    assert database.transact(runs.replay, both, NOW + 5) == [(stored, "log")]
    assert get_run(database, stored)["due_at"] == NOW
    claim(database)
    assert database.transact(runs.replay, both, NOW + 6) == []
    assert get_run(database, stored)["state"] == "running"


def test_a_cancelled_run_discards_the_attempt_on_its_way(database: Database, stored: str) -> None:
    [held] = claim(database)
    key = stored, "save_audio"
    assert database.transact(runs.cancel, [key, (stored, "log")], NOW + 2) == [key]
    assert database.transact(runs.cancel, [key], NOW + 3) == []
    assert finish(database, end(held)) == [False]
    run = get_run(database, stored)
    assert (run["state"], run["finished_at"], run["lease_owner"]) == ("cancelled", NOW + 2, None)
    assert claim(database, now=NOW + 9999) == []


def test_a_cancelled_run_waits_for_nothing(database: Database, stored: str) -> None:
    [held] = claim(database)
    postponed = end(held, RunState.PENDING, outcome="postponed", due_at=NOW + 60, waits_for=AUDIO_STORAGE)
    assert database.transact(waiting_runs.finish, [postponed]) == [True]
    database.transact(runs.cancel, [(stored, "save_audio")], NOW)
    assert database.query(waiting_runs.count) == 0
    assert database.transact(waiting_runs.release, 10, NOW) == 0


def test_a_replay_right_after_a_cancel_does_not_take_the_old_attempts_result(database: Database, stored: str) -> None:
    [held] = claim(database)
    database.transact(runs.cancel, [(stored, "save_audio")], NOW)
    database.transact(runs.replay, [(stored, "save_audio")], NOW)
    assert finish(database, end(held)) == [False]
    [again] = claim(database)
    assert finish(database, end(held)) == [False]
    assert finish(database, end(again)) == [True]


def test_the_depth_is_counted_by_handler_and_state(database: Database, accept: Accept, delivery: Make) -> None:
    assert database.query(gauges.depth, NOW).oldest_due_at is None
    accept(*(delivery(f"job_{n}", received_at=NOW - n, handlers=("a", "b")) for n in range(4)))
    [held] = claim(database, a=1)
    finish(database, end(held, RunState.DEAD))
    claim(database, b=1)
    depth = database.query(gauges.depth, NOW)
    assert depth.by_handler == {("a", "pending"): 3, ("a", "dead"): 1, ("b", "pending"): 3, ("b", "running"): 1}
    assert depth.oldest_due_at == NOW - 2
    assert database.query(gauges.depth, NOW - 10).oldest_due_at is None


def test_the_next_due_time_is_the_earliest_of_these_handlers(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(delivery("a", received_at=NOW + 5, handlers=("a",)), delivery("b", received_at=NOW + 3, handlers=("b",)))
    assert database.query(claims.next_due, ["a"], NOW) == NOW + 5
    assert database.query(claims.next_due, ["a", "b"], NOW) == NOW + 3
    assert database.query(claims.next_due, ["c"], NOW) is None


def test_pending_runs_of_handlers_that_are_gone_are_named(database: Database, accept: Accept, delivery: Make) -> None:
    accept(delivery("a", handlers=("old", "log")), delivery("b", handlers=("old",)))
    assert database.query(views.orphaned, ["log"]) == {"old": 2}
    assert database.query(views.orphaned, ["log", "old"]) == {}
