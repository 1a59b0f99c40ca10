"""Several transactions at once: what one writer hides is right on every database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from receiver.model.slots import Slots
from receiver.store import claims, feed, inbox, jobs, prune, throttle_state
from receiver.store.claims import ClaimRequest
from receiver.store.database import Database
from receiver.store.feed import Cursor
from receiver.store.jobs import NewJob
from receiver.store.leases import Lease
from tests.patience import PATIENCE
from tests.unit.store.conftest import NOW, MakeDelivery
from tests.unit.store.interleaving import Transaction

pytestmark = pytest.mark.pooled


def at_once(*functions: Callable[[], Any]) -> list[Any]:
    """Call functions in threads that start together; what they return."""
    barrier = threading.Barrier(len(functions))

    def call(function: Callable[[], Any]) -> Any:
        barrier.wait(PATIENCE)
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(call, function) for function in functions]]


def test_an_event_and_the_watch_of_its_job_meet(database: Database, delivery: MakeDelivery) -> None:
    for n in range(20):
        one, id_ = delivery(f"j{n}"), f"job_{n}"
        at_once(
            lambda one=one: database.transact(inbox.accept, [one]),
            lambda id_=id_, one=one: database.transact(jobs.watch, id_, "aitts", one.job_id, NOW, NOW, NOW + 60),
        )
        row = database.query(jobs.get, id_)
        assert row is not None
        assert row["state"] == "completed"


def test_of_two_requests_with_one_key_one_is_new(database: Database) -> None:
    def enqueue(id_: str, key: str) -> Any:
        values: dict[str, Any] = {"source": "aitts", "submit_key": "s", "now": NOW, "deadline_at": NOW}
        return database.transact(jobs.enqueue, NewJob(id=id_, request={"text": "Hello"}, client_key=key, **values))

    for n in range(10):
        ids = [f"a{n}", f"b{n}"]
        found = at_once(*(lambda id_=id_, n=n: enqueue(id_, f"c{n}") for id_ in ids))
        assert sorted(new for _, new in found) == [False, True]
        assert found[0][0]["id"] == found[1][0]["id"]


def test_a_delivery_that_comes_twice_at_once_is_stored_once(database: Database, delivery: MakeDelivery) -> None:
    for n in range(10):
        pair = [delivery(f"j{n}"), delivery(f"j{n}")]
        found = at_once(*(lambda one=one: database.transact(inbox.accept, [one])[0] for one in pair))
        assert sorted(receipt.duplicate for receipt in found) == [False, True]
        assert len({receipt.event_id for receipt in found}) == 1


def test_batches_that_share_deliveries_in_another_order_are_both_stored(
    database: Database, delivery: MakeDelivery
) -> None:
    for n in range(10):
        first = [delivery(f"{n}-{k}") for k in range(20)]
        second = [delivery(f"{n}-{k}") for k in reversed(range(20))]
        one, other = at_once(*(lambda batch=batch: database.transact(inbox.accept, batch) for batch in (first, second)))
        assert [receipt.event_id for receipt in one] == [receipt.event_id for receipt in reversed(other)]


def test_reserved_times_are_each_given_once(database: Database) -> None:
    def reserve() -> list[float]:
        return [at for _ in range(10) for at in database.transact(throttle_state.reserve_times, "aitts", 3, NOW, 0.5)]

    found = [at for times in at_once(*[reserve] * 4) for at in times]
    assert sorted(found) == [NOW + n * 0.5 for n in range(120)]


def test_a_run_is_claimed_once(database: Database, delivery: MakeDelivery) -> None:
    database.transact(inbox.accept, [delivery(f"j{n}") for n in range(200)])

    def claim(owner: str) -> list[str]:
        found = []
        for _ in range(20):
            request = ClaimRequest(Slots(10, {"save_audio": None}).free({}), Lease(owner, NOW + 30), NOW)
            found += [claimed.event_id for claimed in database.transact(claims.claim, request).started]
        return found

    found = [id_ for ids in at_once(*(lambda owner=owner: claim(owner) for owner in "abcd")) for id_ in ids]
    assert len(found) == len(set(found)) == 200


@pytest.mark.postgresql
def test_a_duplicate_of_an_event_that_is_being_deleted_is_a_new_event(
    database: Database, delivery: MakeDelivery
) -> None:
    old, again = (delivery("j", handlers=(), received_at=NOW) for _ in range(2))
    database.transact(inbox.accept, [old])
    deleting = Transaction(database, prune.delete_events, NOW + 1, [old.event_id])
    with ThreadPoolExecutor(1) as pool:
        accepting = pool.submit(database.transact, inbox.accept, [again])
        waits = text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
        while not database.query(lambda connection: connection.execute(waits).all()):
            assert not accepting.done()
        deleting.commit()
        [receipt] = accepting.result(PATIENCE)
    assert (receipt.event_id, receipt.duplicate) == (again.event_id, False)


def read_on(database: Database, cursor: Cursor) -> tuple[Cursor, list[str]]:
    """The cursor after, and the ids of, all events that the feed has now."""
    found = database.query(feed.events_after, cursor, 100)
    return (found[-1][0] if found else cursor), [summary["id"] for _, summary in found]


@pytest.mark.postgresql
def test_no_event_is_skipped_when_transactions_commit_in_another_order(
    database: Database, delivery: MakeDelivery
) -> None:
    """Three transactions overlap, and the feed is read after each step."""
    one, two, three, four = (delivery(f"j{n}", key_id=None) for n in range(4))
    cursor, seen = read_on(database, Cursor())
    first = Transaction(database, inbox.accept, [one])
    second = Transaction(database, inbox.accept, [two])
    third = Transaction(database, inbox.accept, [three])
    second.commit()
    cursor, found = read_on(database, cursor)
    seen += found
    database.transact(inbox.accept, [four])
    cursor, found = read_on(database, cursor)
    seen += found
    assert seen == [], "an event of an earlier transaction may still come"
    first.commit()
    cursor, found = read_on(database, cursor)
    seen += found
    assert seen == [one.event_id, two.event_id]
    third.commit()
    cursor, found = read_on(database, cursor)
    assert [*seen, *found] == [item.event_id for item in (one, two, three, four)]


@pytest.mark.postgresql
def test_a_reader_that_begins_now_gets_what_an_open_transaction_stores(
    database: Database, delivery: MakeDelivery
) -> None:
    database.transact(inbox.accept, [delivery("before", key_id=None)])
    slow, quick = delivery("slow", key_id=None), delivery("quick", key_id=None)
    open_one = Transaction(database, inbox.accept, [slow])
    database.transact(inbox.accept, [quick])
    begin = database.query(feed.newest)
    open_one.commit()
    assert read_on(database, begin)[1] == [slow.event_id, quick.event_id]


@pytest.mark.postgresql
def test_every_event_is_read_once_while_many_transactions_store(database: Database, delivery: MakeDelivery) -> None:
    batches = [[delivery(f"{n}-{k}", key_id=None) for k in range(3)] for n in range(40)]
    ended = threading.Event()
    seen: list[str] = []

    def store(part: list[Any]) -> None:
        for batch in part:
            database.transact(inbox.accept, batch)

    def read() -> None:
        cursor, last = Cursor(), False
        while not last:
            last = ended.is_set()
            cursor, found = read_on(database, cursor)
            seen.extend(found)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            at_once(*(lambda part=part: store(part) for part in (batches[::3], batches[1::3], batches[2::3])))
        finally:
            ended.set()
        reading.result(PATIENCE)
    assert len(seen) == len(set(seen))
    assert sorted(seen) == sorted(item.event_id for batch in batches for item in batch)
