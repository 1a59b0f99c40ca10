"""Two transactions at once: what one writer hid."""

import threading
from concurrent.futures import ThreadPoolExecutor
import pytest
from receiver.model.slots import Slots
from receiver.store import inbox, jobs, throttle_state, feed, claims
from receiver.store.claims import ClaimRequest
from receiver.store.leases import Lease
from receiver.store.feed import Cursor
from receiver.store.jobs import NewJob

NOW = 1.7e9


def test_an_event_and_the_watch_of_its_job_meet(database, delivery):
    """Interleaved: the watch has inserted the job and not committed when the event is stored."""
    for n in range(40):
        job = f"j{n}"
        barrier = threading.Barrier(2)

        def a():
            barrier.wait()
            database.transact(inbox.accept, [one])

        def b():
            barrier.wait()
            database.transact(jobs.watch, f"job_{n}", "aitts", job, NOW, NOW, NOW + 60)

        one = delivery(job)
        with ThreadPoolExecutor(2) as pool:
            [f.result() for f in (pool.submit(a), pool.submit(b))]
        assert database.query(jobs.get, f"job_{n}")["state"] == "completed"


def test_of_two_requests_with_one_key_one_is_new(database):
    for n in range(20):

        def new(id):
            return database.transact(
                jobs.enqueue,
                NewJob(
                    id=id,
                    source="aitts",
                    request={"t": 1},
                    submit_key="s",
                    client_key=f"c{n}",
                    now=NOW,
                    deadline_at=NOW,
                ),
            )

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(new, [f"a{n}", f"b{n}"]))
        assert sorted(new for _, new in found) == [False, True]
        assert found[0][0]["id"] == found[1][0]["id"]


def test_reserved_times_are_each_given_once(database):
    def take(_):
        return database.transact(throttle_state.reserve_times, "aitts", 3, NOW, 0.5)

    with ThreadPoolExecutor(4) as pool:
        got = [t for ts in pool.map(take, range(40)) for t in ts]
    assert sorted(got) == [NOW + n * 0.5 for n in range(120)]


def test_a_run_is_claimed_once(database, delivery):
    database.transact(inbox.accept, [delivery(f"j{n}") for n in range(200)])

    def take(owner):
        out = []
        for _ in range(20):
            got = database.transact(
                claims.claim, ClaimRequest(Slots(10, {"save_audio": None}).free({}), Lease(owner, NOW + 30), NOW)
            ).started
            out += [c.event_id for c in got]
        return out

    with ThreadPoolExecutor(4) as pool:
        got = [e for es in pool.map(take, "abcd") for e in es]
    assert len(got) == len(set(got)) == 200


def test_no_event_is_skipped_when_commits_are_out_of_order(database, delivery):
    first, second = delivery("first"), delivery("second", key_id=None)
    with database.w.connect() as early:
        t = early.begin()
        inbox.accept(early, [first])
        database.transact(inbox.accept, [second])
        seen = database.query(feed.events_after, Cursor(), 10)
        assert seen == []
        t.commit()
    assert [e["id"] for _, e in database.query(feed.events_after, Cursor(), 10)] == [first.event_id, second.event_id]
