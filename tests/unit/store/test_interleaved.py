"""What reads and then writes is right while another transaction is between the same two steps: on every database."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from receiver.model.slots import Slots
from receiver.store import (
    artifacts,
    clocks,
    completion,
    feed,
    gauges,
    inbox,
    job_leases,
    jobs,
    prune,
    quarantine,
    runs,
    throttle_state,
    views,
)
from receiver.store.artifacts import ArtifactRow
from receiver.store.clocks import RequestTimes, TimeBounds
from receiver.store.database import Database
from receiver.store.jobs import NewJob
from receiver.store.leases import Lease
from receiver.store.runs import RunResult
from receiver.store.schema import jobs as job_table
from receiver.store.states import JobState, RunState
from tests.claiming import claim_due
from tests.clocks import SetClock
from tests.unit.store.conftest import NOW, MakeDelivery
from tests.unit.store.interleaving import Transaction, interleave

Both = Callable[[Callable[..., Any], Callable[..., Any]], tuple[Any, Any]]


@pytest.fixture(params=["first", "second"])
def both(database: Database, request: pytest.FixtureRequest) -> Both:
    """Interleaves two functions in either order; what they return, in the order in which they are given."""

    def run(one: Callable[..., Any], other: Callable[..., Any]) -> tuple[Any, Any]:
        if request.param == "first":
            return interleave(database, one, other)
        found, before = interleave(database, other, one)
        return before, found

    return run


def new_job(id_: str, client_key: str | None = None) -> NewJob:
    values: dict[str, Any] = {"source": "aitts", "submit_key": "s", "now": NOW, "deadline_at": NOW + 60}
    return NewJob(id=id_, request={"text": "Hello"}, client_key=client_key, **values)


def accepting(*deliveries: Any) -> Callable[..., Any]:
    return partial(_accept, deliveries=list(deliveries))


def _accept(connection: Connection, deliveries: list[Any]) -> Any:
    return inbox.accept(connection, deliveries)


def watching(id_: str, job_id: str) -> Callable[..., Any]:
    return lambda connection: jobs.watch(connection, id_, "aitts", job_id, NOW, NOW, NOW + 60)


def state_of(database: Database, id_: str) -> str:
    row = database.query(jobs.get, id_)
    assert row is not None
    return str(row["state"])


def claim_job(database: Database, id_: str) -> job_leases.JobClaim:
    database.transact(jobs.enqueue, new_job(id_))
    [claimed] = database.transact(job_leases.claim, "aitts", 1, NOW, Lease("me", NOW + 30))
    return claimed


def test_a_job_ends_that_is_watched_while_its_event_is_stored(
    database: Database, both: Both, delivery: MakeDelivery
) -> None:
    both(accepting(delivery("j")), watching("job_1", "j"))
    assert state_of(database, "job_1") == "completed"


def test_a_job_ends_that_is_submitted_while_its_event_is_stored(
    database: Database, both: Both, delivery: MakeDelivery
) -> None:
    claimed = claim_job(database, "job_1")
    submitted = lambda connection: job_leases.mark_submitted(connection, claimed, "j", NOW, NOW, NOW + 60)  # noqa: E731
    both(accepting(delivery("j")), submitted)
    assert state_of(database, "job_1") == "completed"


def test_a_job_ends_that_is_adopted_while_its_event_is_stored(
    database: Database, both: Both, delivery: MakeDelivery
) -> None:
    claimed = claim_job(database, "job_1")
    database.transact(job_leases.mark_not_submitted, claimed, JobState.UNKNOWN, NOW, "code", "why")
    both(accepting(delivery("j")), lambda connection: jobs.adopt(connection, "job_1", "j", NOW, NOW + 60))
    assert state_of(database, "job_1") == "completed"


def test_a_job_ends_that_is_watched_while_its_event_leaves_quarantine(
    database: Database, both: Both, delivery: MakeDelivery
) -> None:
    stale = delivery("j", quarantined=True)
    database.transact(inbox.accept, [stale])
    both(lambda connection: inbox.release(connection, {stale.event_id: ["notes"]}, NOW), watching("job_1", "j"))
    assert state_of(database, "job_1") == "completed"


def test_each_event_is_released_by_one_of_two_operators(database: Database, both: Both, delivery: MakeDelivery) -> None:
    stale = [delivery(job, quarantined=True) for job in "abc"]
    database.transact(inbox.accept, stale)
    first, second, third = (item.event_id for item in stale)
    released = both(
        lambda connection: inbox.release(connection, {first: ["notes"], second: ["notes"]}, NOW),
        lambda connection: inbox.release(connection, {third: ["notes"], second: ["notes"]}, NOW),
    )
    assert set.union(*released) == {first, second, third}
    assert not set.intersection(*released)


def test_a_job_is_watched_once(database: Database, both: Both) -> None:
    (row, new), (again, new_again) = both(watching("job_1", "j"), watching("job_2", "j"))
    assert row["id"] == again["id"]
    assert {new, new_again} == {True, False}


def test_a_job_that_is_watched_while_it_is_submitted_is_one(database: Database, both: Both) -> None:
    claimed = claim_job(database, "job_1")
    submitted = lambda connection: job_leases.mark_submitted(connection, claimed, "j", NOW, NOW, NOW + 60)  # noqa: E731
    both(submitted, watching("job_2", "j"))
    assert [row["id"] for row in database.query(jobs.find, "j")] == ["job_1"]


def test_a_job_that_is_cancelled_while_its_event_is_stored_has_ended(
    database: Database, both: Both, delivery: MakeDelivery
) -> None:
    database.transact(watching("job_1", "j"))
    _, cancelled = both(accepting(delivery("j")), lambda connection: jobs.cancel(connection, "job_1", NOW))
    assert state_of(database, "job_1") == ("cancelled" if cancelled else "completed")


def test_a_job_is_cancelled_or_submitted(database: Database, both: Both) -> None:
    database.transact(jobs.enqueue, new_job("job_1"))
    claim = lambda connection: job_leases.claim(connection, "aitts", 1, NOW, Lease("me", NOW + 30))  # noqa: E731
    claimed, cancelled = both(claim, lambda connection: jobs.cancel(connection, "job_1", NOW))
    assert bool(claimed) is not cancelled


def test_a_job_that_is_watched_again_is_not_deleted(database: Database, both: Both) -> None:
    database.transact(watching("job_1", "j"))
    database.transact(jobs.cancel, "job_1", NOW)
    again = lambda connection: jobs.watch(connection, "job_2", "aitts", "j", NOW + 9, NOW + 9, NOW + 99)  # noqa: E731
    both(again, lambda connection: prune.delete_jobs(connection, NOW + 1, ["job_1"]))
    [row] = database.query(jobs.find, "j")
    assert row["state"] == "watching"


@pytest.mark.postgresql
def test_a_request_whose_key_is_deleted_before_it_is_read_is_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.transact(jobs.enqueue, new_job("job_1", "key"))
    find_one, deleted = jobs.find_one, []

    def deleted_first(connection: Connection, *conditions: Any) -> Any:
        if not deleted:
            deleted.append(database.transact(lambda other: other.execute(job_table.delete())))
        return find_one(connection, *conditions)

    monkeypatch.setattr(jobs, "find_one", deleted_first)
    row, new = database.transact(jobs.enqueue, new_job("job_2", "key"))
    assert (row["id"], new) == ("job_2", True)


def test_the_quarantine_holds_no_more_than_its_limit(database: Database, both: Both, delivery: MakeDelivery) -> None:
    one, other = (delivery(f"j{n}", quarantined=True) for n in range(2))
    found = both(*(lambda c, one=one: inbox.accept_bounded(c, [one], 1)[0].refused for one in (one, other)))
    assert sorted(found) == [False, True]
    assert database.query(quarantine.counts) == {"aitts": 1}


def test_an_event_that_leaves_quarantine_is_not_deleted(database: Database, both: Both, delivery: MakeDelivery) -> None:
    stale = delivery("j", quarantined=True)
    database.transact(inbox.accept, [stale])
    released, deleted = both(
        lambda connection: inbox.release(connection, {stale.event_id: ["notes"]}, NOW),
        lambda connection: quarantine.delete_old(connection, NOW + 1, [stale.event_id]),
    )
    assert bool(released) is not bool(deleted)
    assert (database.query(views.get_event, stale.event_id) is not None) is bool(released)


def test_an_event_that_is_replayed_is_not_deleted(database: Database, both: Both, delivery: MakeDelivery) -> None:
    old = delivery("j", handlers=())
    database.transact(inbox.accept, [old])
    replayed, deleted = both(
        lambda connection: runs.replay(connection, [(old.event_id, "save_audio")], NOW),
        lambda connection: prune.delete_events(connection, NOW + 1, [old.event_id]),
    )
    assert bool(replayed) is not bool(deleted)


def test_a_run_is_replayed_once(database: Database, both: Both, delivery: MakeDelivery) -> None:
    old = delivery("j", handlers=())
    database.transact(inbox.accept, [old])
    found = both(*[lambda connection: runs.replay(connection, [(old.event_id, "save_audio")], NOW)] * 2)
    assert sorted(map(len, found)) == [0, 1]


def test_a_run_is_cancelled_or_has_its_result(database: Database, both: Both, delivery: MakeDelivery) -> None:
    database.transact(inbox.accept, [delivery("j")])
    [claimed] = database.transact(claim_due, Slots(1, {"save_audio": None}).free({}), "me", NOW, NOW + 30)
    result = RunResult(claimed, "me", "succeeded", RunState.SUCCEEDED, NOW + 1)
    [held], cancelled = both(
        lambda connection: runs.finish(connection, [result]),
        lambda connection: runs.cancel(connection, [(claimed.event_id, claimed.handler)], NOW),
    )
    assert held is not bool(cancelled)


def test_the_longer_pause_stays(database: Database, both: Both) -> None:
    both(*(lambda c, at=at: throttle_state.pause(c, "aitts", NOW + at, f"{at}", NOW) for at in (60, 30)))
    state = database.query(throttle_state.get, "aitts")
    assert (state.pause_until, state.why) == (NOW + 60, "60")


def test_a_request_time_is_given_once(database: Database, both: Both) -> None:
    found = both(*[lambda c: throttle_state.reserve_times(c, "aitts", 2, NOW, 1.0)] * 2)
    assert sorted(at for times in found for at in times) == [NOW, NOW + 1, NOW + 2, NOW + 3]


def test_a_clock_that_is_corrected_leaves_what_was_reserved_since(database: Database, both: Both) -> None:
    database.transact(throttle_state.reserve_times, "aitts", 1, NOW + 1000, 1.0)
    bounds = TimeBounds(30.0, 60.0, {}, {"aitts": RequestTimes(60.0, 2.0)})

    def correct(connection: Connection) -> None:
        for kind, step in clocks.steps(bounds, SetClock(NOW)):
            if kind == "sources":
                step(connection, None)

    both(correct, lambda connection: throttle_state.record_response(connection, "aitts", NOW))
    assert database.query(throttle_state.get, "aitts").next_request_at <= NOW + 2


def test_the_same_audio_is_one_row(database: Database, both: Both, delivery: MakeDelivery) -> None:
    event = delivery("j")
    database.transact(inbox.accept, [event])
    rows = [
        ArtifactRow(event.event_id, n, f"{at}", 4, "f" * 64, "audio/wav", "wav", None, None, None, NOW, 1.0)
        for at in range(2)
        for n in range(2)
    ]
    both(
        lambda connection: artifacts.put_all(connection, rows[:2]),
        lambda connection: artifacts.put_all(connection, rows[:1:-1]),
    )
    assert len({database.query(artifacts.get, event.event_id, n).address for n in range(2)}) == 1  # type: ignore[union-attr]


def test_a_contradiction_is_seen_by_whoever_is_second(database: Database, both: Both, delivery: MakeDelivery) -> None:
    ends = delivery("j", type="job.completed"), delivery("j", type="job.failed")
    found = both(*(accepting(one) for one in ends))
    assert sorted(receipts[0].conflict or "" for receipts in found) == ["", inbox.COMPLETED_AND_FAILED]
    marked = select(func.count()).where(completion.events.c.conflict.is_not(None))
    assert database.query(lambda connection: connection.execute(marked).scalar_one()) == 1


@pytest.mark.postgresql
def test_no_delivery_waits_for_another_process_that_records_the_use_of_its_key(
    database: Database, delivery: MakeDelivery
) -> None:
    database.transact(inbox.accept, [delivery("before")])
    opened = Transaction(database, inbox.accept, [delivery("one", received_at=NOW + 60)])
    database.transact(inbox.accept, [delivery("other", received_at=NOW + 60)])  # it would wait for ever
    opened.commit()
    assert database.query(views.key_uses) == {("aitts", "key-1"): (NOW, NOW + 60)}


@pytest.mark.postgresql
def test_the_feeds_delay_is_how_long_an_event_is_held_up(database: Database, delivery: MakeDelivery) -> None:
    assert database.query(feed.delay, NOW) == 0.0
    opened = Transaction(database, inbox.accept, [delivery("long", key_id=None)])
    database.transact(inbox.accept, [delivery("held_up", received_at=NOW + 5)])
    assert database.query(feed.delay, NOW + 95) == 90.0
    assert database.query(gauges.read, [], NOW + 95).feed_delay == 90.0
    opened.commit()
    assert database.query(feed.delay, NOW + 95) == 0.0
