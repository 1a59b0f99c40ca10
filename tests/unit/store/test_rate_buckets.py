"""What responses report of rate limits is shared by all processes, on each kind of store."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from receiver.model.rate_limit import RateLimit
from receiver.model.rate_plan import Bucket, RatePlan, RequestKind
from receiver.store import job_durations, rate_buckets, throttle_state
from receiver.store.database import Database
from tests.unit.store.conftest import NOW
from tests.unit.store.interleaving import interleave

STATUS, SUBMIT = RequestKind.STATUS, RequestKind.SUBMIT


def record(database: Database, remaining: int | None, reset_at: float | None, bucket: str = "account") -> None:
    database.transact(rate_buckets.record, "aitts", RateLimit(10, remaining, reset_at, bucket), NOW)


def found(database: Database, bucket: str = "account") -> Bucket:
    return database.query(rate_buckets.get, "aitts").buckets[bucket]


def reserve(connection: Connection, count: int = 1) -> int:
    before = rate_buckets.lock(connection, "aitts")
    free = before.free(STATUS, count, NOW)
    rate_buckets.store(connection, "aitts", before, before.after(STATUS, free, NOW), NOW)
    return free


def test_within_a_window_the_smaller_number_counts_and_a_new_window_replaces_it(database: Database) -> None:
    for remaining, reset_at, kept in ((5, 900, 5), (7, 900, 5), (6, 901, 5), (3, 899, 3), (9, 1800, 9), (8, 901, 8)):
        record(database, remaining, NOW + reset_at)
        assert found(database).remaining == kept


def test_a_late_response_of_an_ended_window_changes_nothing(database: Database) -> None:
    record(database, 0, NOW + 900)
    before = found(database)
    record(database, 3, NOW - 1)
    assert found(database) == before
    record(database, 4, None)
    assert found(database).remaining == 4


def test_what_a_response_does_not_report_stays(database: Database) -> None:
    record(database, 5, NOW + 900)
    record(database, None, None)
    assert (found(database).remaining, found(database).reset_at) == (5, NOW + 900)


def test_which_requests_belong_to_a_bucket_is_learned_and_may_change(database: Database) -> None:
    for name in ("a", "b"):
        record(database, 5, NOW + 900, name)
        database.transact(rate_buckets.assign, "aitts", STATUS, name)
        database.transact(rate_buckets.assign, "aitts", SUBMIT, "a")
    plan = database.query(rate_buckets.get, "aitts")
    assert plan.kinds == {"status": "b", "submit": "a"}
    assert database.query(rate_buckets.get_all) == {"aitts": plan}
    assert database.query(rate_buckets.get, "other") == RatePlan()


def test_the_buckets_of_a_source_are_bounded(database: Database) -> None:
    for number in range(40):
        limit = RateLimit(10, 5, NOW + 900, f"bucket {number:02}")
        database.transact(rate_buckets.record, "aitts", limit, NOW + number)
        database.transact(rate_buckets.assign, "aitts", STATUS, limit.bucket or "")
    kept = database.query(rate_buckets.get, "aitts").buckets
    assert len(kept) == rate_buckets.MAX_BUCKETS
    assert max(kept) == "bucket 39"


def test_a_used_up_bucket_is_paused_until_a_response_reports_more(database: Database) -> None:
    record(database, 0, NOW + 900)
    assert (found(database).pause_until, found(database).why) == (NOW + 900, "rate_limit_used_up")
    record(database, 9, NOW + 1800)
    assert found(database).pause_until == 0
    database.transact(rate_buckets.pause, "aitts", "account", NOW + 60, "provider_rate_limited", NOW)
    database.transact(rate_buckets.pause, "aitts", "account", NOW + 30, "provider_rate_limited", NOW)
    record(database, 8, NOW + 1800)
    assert found(database).pause_until == NOW + 60
    database.transact(rate_buckets.forget, "aitts")
    assert found(database) == Bucket("account", 10)


def test_a_request_that_waits_is_explained_by_its_own_bucket(database: Database) -> None:
    def why(kind: RequestKind, now: float = NOW) -> tuple[float, str] | None:
        found = database.query(lambda c: throttle_state.pause_of(c, "aitts", kind, now, submits_wait=True))
        return None if found is None else (found.pause_until, found.why)

    assert why(STATUS) is None
    for kind, name, remaining in ((SUBMIT, "submit", 0), (STATUS, "status", 1)):
        record(database, remaining, NOW + 900, name)
        database.transact(rate_buckets.assign, "aitts", kind, name)
    assert why(SUBMIT) == (NOW + 900, "rate_limit_used_up")
    assert why(STATUS) == (NOW + 900, "rate_limit_used_up"), "the last request is left to others"
    assert why(STATUS, NOW + 900) is None
    record(database, 9, NOW + 1800, "status")
    assert why(STATUS) is None
    database.transact(throttle_state.pause, "aitts", NOW + 60, "provider_unauthorized", NOW)
    assert why(STATUS) == (NOW + 60, "provider_unauthorized")


def test_what_was_not_sent_is_given_back_within_its_window(database: Database) -> None:
    record(database, 10, NOW + 900)
    database.transact(rate_buckets.assign, "aitts", STATUS, "account")
    assert database.transact(reserve, 3) == 3
    assert found(database).remaining == 7
    database.transact(rate_buckets.refund, "aitts", STATUS, 2, NOW)
    assert found(database).remaining == 9
    database.transact(rate_buckets.refund, "aitts", STATUS, 9, NOW)
    assert found(database).remaining == 10
    database.transact(rate_buckets.refund, "aitts", STATUS, 1, NOW + 901)
    assert found(database).remaining == 10


def test_processes_that_reserve_at_once_get_no_more_than_is_left(database: Database) -> None:
    record(database, 5, NOW + 900)
    database.transact(rate_buckets.assign, "aitts", STATUS, "account")
    taken = interleave(database, *[lambda connection: reserve(connection, 2)] * 2)
    assert sorted(taken) == [1, 2]  # a fifth of 10 is left to other requests
    assert found(database).remaining == 2


def test_durations_are_added_up(database: Database) -> None:
    assert database.query(job_durations.get, "aitts").expected(9) is None
    for characters in (100, 200, None):
        database.transact(job_durations.add, "aitts", characters, 40.0)
    assert database.query(job_durations.get, "aitts").expected(150) == pytest.approx(40)
