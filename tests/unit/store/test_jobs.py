"""Watched jobs: claimed with a lease, written only by who holds them, ended once; a source's pause is everybody's."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.store import jobs
from receiver.store.database import Database
from receiver.store.jobs import JobClaim
from receiver.store.schema import JobState

NOW = 1_700_000_000.0
LEASE = 60.0
DEADLINE = NOW + 3600


def watch(database: Database, *ids: str, source: str = "aitts", at: float = NOW) -> list[bool]:
    return [database.transact(jobs.watch, source, job, NOW, at, DEADLINE) for job in ids]


def claim(database: Database, now: float = NOW, most: int = 10, source: str = "aitts") -> list[JobClaim]:
    return database.transact(jobs.claim, source, most, now, now + LEASE)


def ids(claims: list[JobClaim]) -> list[str]:
    return sorted(held.job_id for held in claims)


def job(database: Database, job_id: str = "a") -> dict[str, Any]:
    found = database.query(jobs.get, "aitts", job_id)
    assert found is not None
    return found


def reschedule(database: Database, held: JobClaim, at: float, **values: Any) -> bool:
    values.setdefault("polled", True)
    return database.transact(lambda connection: jobs.reschedule(connection, held, at, **values))


def end(database: Database, held: JobClaim, state: JobState = JobState.COMPLETED, *, polled: bool = True) -> bool:
    return database.transact(lambda connection: jobs.end(connection, held, state, NOW + 9, "evt_1", polled=polled))


def pause(database: Database, until: float, reason: str = "provider_rate_limited", source: str = "aitts") -> None:
    database.transact(jobs.pause, source, until, reason)


def next_due(database: Database, source: str = "aitts") -> float | None:
    return database.query(jobs.next_due, source)


# watching


def test_a_watched_job_is_due_as_asked_and_has_its_deadline(database: Database) -> None:
    assert watch(database, "a", at=NOW + 5) == [True]
    row = job(database)
    assert (row["state"], row["watched_at"], row["next_poll_at"], row["deadline_at"]) == (
        "watching",
        NOW,
        NOW + 5,
        DEADLINE,
    )
    assert (row["polls"], row["misses"], row["event_id"], row["error"]) == (0, 0, None, None)


def test_a_job_that_is_watched_twice_is_one_and_stays_as_it_was(database: Database) -> None:
    watch(database, "a")
    before = job(database)
    assert database.transact(jobs.watch, "aitts", "a", NOW + 50, NOW + 60, NOW + 70) is False
    assert job(database) == before


def test_a_job_that_has_ended_is_not_begun_again_by_watching_it(database: Database) -> None:
    watch(database, "a")
    [held] = claim(database)
    end(database, held)
    assert watch(database, "a") == [False]
    assert job(database)["state"] == "completed"


def test_the_same_id_at_two_sources_is_two_jobs(database: Database) -> None:
    assert watch(database, "a") + watch(database, "a", source="other") == [True, True]
    assert ids(claim(database)) == ["a"]
    assert ids(claim(database, source="other")) == ["a"]


# claiming


def test_a_claim_has_what_a_poll_needs(database: Database) -> None:
    watch(database, "a")
    assert claim(database) == [JobClaim("aitts", "a", 1, 0, 0, NOW, DEADLINE)]


def test_a_claimed_job_is_nobody_elses_until_its_lease_has_ended(database: Database) -> None:
    watch(database, "a")
    [first] = claim(database)
    assert claim(database, NOW + LEASE) == []
    [second] = claim(database, NOW + LEASE + 1)
    assert (first.claim, second.claim) == (1, 2)


def test_only_what_is_due_is_claimed_and_the_longest_due_first(database: Database) -> None:
    watch(database, "late", at=NOW - 9)
    watch(database, "later", at=NOW - 5)
    watch(database, "now")
    watch(database, "not yet", at=NOW + 0.1)
    assert ids(claim(database, most=2)) == ["late", "later"]
    assert ids(claim(database)) == ["now"]
    assert ids(claim(database, NOW + 1)) == ["not yet"]


def test_a_source_claims_its_own_jobs_alone(database: Database) -> None:
    watch(database, "a")
    watch(database, "b", source="other")
    assert ids(claim(database)) == ["a"]


@pytest.mark.parametrize("ended", ["end", "cancel"])
def test_a_job_that_is_watched_no_longer_is_not_claimed(database: Database, ended: str) -> None:
    watch(database, "a")
    [held] = claim(database)
    if ended == "end":
        end(database, held)
    else:
        database.transact(jobs.cancel, "aitts", "a", NOW)
    assert claim(database, NOW + 10 * LEASE) == []
    assert next_due(database) is None


# when it is worth looking again


def test_the_next_due_time_is_the_earliest_of_the_source(database: Database) -> None:
    assert next_due(database) is None
    watch(database, "a", at=NOW + 7)
    watch(database, "b", at=NOW + 3)
    watch(database, "c", at=NOW + 1, source="other")
    assert next_due(database) == NOW + 3


def test_a_job_in_somebodys_hands_is_not_due_before_its_lease_ends(database: Database) -> None:
    watch(database, "a")
    claim(database)
    assert next_due(database) == NOW + LEASE
    watch(database, "b", at=NOW + 4)
    assert next_due(database) == NOW + 4


def test_a_paused_source_has_nothing_due_before_the_pause_ends(database: Database) -> None:
    watch(database, "a")
    pause(database, NOW + 30)
    assert next_due(database) == NOW + 30


# rescheduling


def test_a_poll_of_a_running_job_is_counted_and_gives_the_job_back(database: Database) -> None:
    watch(database, "a")
    [held] = claim(database)
    assert reschedule(database, held, NOW + 2, progress=40)
    row = job(database)
    assert (row["polls"], row["progress"], row["next_poll_at"], row["lease_until"]) == (1, 40, NOW + 2, None)
    assert [(again.polls, again.claim) for again in claim(database, NOW + 2)] == [(1, 2)]


def test_an_error_and_the_misses_are_kept_until_the_next_poll_that_goes_well(database: Database) -> None:
    watch(database, "a")
    [held] = claim(database)
    reschedule(database, held, NOW + 2, misses=3, error="It does not know the job.")
    [held] = claim(database, NOW + 2)
    assert (held.misses, job(database)["error"]) == (3, "It does not know the job.")
    reschedule(database, held, NOW + 4)
    assert (job(database)["misses"], job(database)["error"]) == (0, None)


def test_a_job_put_off_without_a_poll_keeps_all_that_is_known_of_it(database: Database) -> None:
    watch(database, "a")
    [held] = claim(database)
    reschedule(database, held, NOW + 2, misses=3, progress=40, error="Why.")
    [held] = claim(database, NOW + 2)
    assert reschedule(database, held, NOW + 9, polled=False)
    row = job(database)
    assert (row["polls"], row["misses"], row["progress"], row["error"]) == (1, 3, 40, "Why.")
    assert (row["next_poll_at"], row["lease_until"]) == (NOW + 9, None)


def test_whoever_lost_the_job_can_neither_reschedule_nor_end_it(database: Database) -> None:
    watch(database, "a")
    [lost] = claim(database)
    [held] = claim(database, NOW + LEASE + 1)
    before = job(database)
    assert reschedule(database, lost, NOW + 500) is False
    assert end(database, lost) is False
    assert job(database) == before
    assert end(database, held) is True


# ending


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.EXPIRED])
def test_an_ended_job_says_how_when_and_by_which_event(database: Database, state: JobState) -> None:
    watch(database, "a")
    [held] = claim(database)
    assert end(database, held, state)
    row = job(database)
    assert (row["state"], row["ended_at"], row["event_id"], row["lease_until"]) == (state, NOW + 9, "evt_1", None)
    assert row["polls"] == 1


def test_a_job_ends_once(database: Database) -> None:
    watch(database, "a")
    [held] = claim(database)
    assert end(database, held) is True
    assert end(database, held, JobState.FAILED) is False
    assert job(database)["state"] == "completed"


def test_an_end_that_was_not_asked_for_is_no_poll(database: Database) -> None:
    watch(database, "a")
    [held] = claim(database)
    assert end(database, held, polled=False)
    assert job(database)["polls"] == 0


def test_an_ended_job_can_be_pointed_to_the_event_that_was_there_before(database: Database) -> None:
    watch(database, "a", "b")
    for held in claim(database):
        end(database, held)
    database.transact(jobs.point_to, "aitts", "a", "evt_0")
    assert (job(database)["event_id"], job(database, "b")["event_id"]) == ("evt_0", "evt_1")


# by hand


def test_a_cancel_while_a_poll_is_on_its_way_wins(database: Database) -> None:
    watch(database, "a")
    [held] = claim(database)
    assert database.transact(jobs.cancel, "aitts", "a", NOW + 1) is True
    before = job(database)
    assert (before["state"], before["ended_at"], before["lease_until"]) == ("cancelled", NOW + 1, None)
    assert end(database, held) is False
    assert reschedule(database, held, NOW + 2) is False
    assert job(database) == before


def test_what_is_not_watched_can_be_neither_cancelled_nor_polled(database: Database) -> None:
    watch(database, "a")
    database.transact(jobs.cancel, "aitts", "a", NOW)
    for job_id in ("a", "unknown"):
        assert database.transact(jobs.cancel, "aitts", job_id, NOW) is False
        assert database.transact(jobs.poll_now, "aitts", job_id, NOW) is False


def test_a_job_asked_for_now_is_due_now(database: Database) -> None:
    watch(database, "a", at=NOW + 999)
    assert claim(database) == []
    assert database.transact(jobs.poll_now, "aitts", "a", NOW) is True
    assert ids(claim(database)) == ["a"]


def test_a_job_asked_for_now_is_still_not_polled_twice_at_one_time(database: Database) -> None:
    watch(database, "a")
    claim(database)
    database.transact(jobs.poll_now, "aitts", "a", NOW + 1)
    assert claim(database, NOW + 1) == []


# pauses


def test_nobody_claims_from_a_paused_source_and_everybody_from_the_others(database: Database) -> None:
    watch(database, "a")
    watch(database, "b", source="other")
    pause(database, NOW + 30)
    assert claim(database, NOW + 29.9) == []
    assert ids(claim(database, source="other")) == ["b"]
    assert ids(claim(database, NOW + 30)) == ["a"]


def test_a_longer_pause_stays_and_a_shorter_one_changes_nothing(database: Database) -> None:
    pause(database, NOW + 30, "provider_unauthorized")
    pause(database, NOW + 10, "provider_rate_limited")
    assert database.query(jobs.pause_until, "aitts") == NOW + 30
    pause(database, NOW + 60, "provider_rate_limited")
    assert database.query(jobs.pause_until, "aitts") == NOW + 60
    assert database.query(jobs.pause_until, "other") == 0


# reading


def test_jobs_are_listed_the_last_watched_first_by_source_and_state(database: Database) -> None:
    for index, (source, job_id) in enumerate([("aitts", "a"), ("other", "b"), ("aitts", "c")]):
        database.transact(jobs.watch, source, job_id, NOW + index, NOW, DEADLINE)
    database.transact(jobs.cancel, "aitts", "a", NOW)

    def listed(*which: Any) -> list[str]:
        return [row["job_id"] for row in database.query(jobs.list_jobs, *which)]

    assert listed(None, None, 50) == ["c", "b", "a"]
    assert listed(None, None, 2) == ["c", "b"]
    assert listed("aitts", None, 50) == ["c", "a"]
    assert listed(None, ["cancelled"], 50) == ["a"]
    assert listed("other", ["cancelled"], 50) == []


def test_a_job_that_nobody_watched_is_not_there(database: Database) -> None:
    assert database.query(jobs.get, "aitts", "a") is None
