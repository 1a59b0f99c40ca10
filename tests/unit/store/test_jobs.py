"""Watched jobs: claimed with a lease, written only by who holds them, ended once; a source's pause is everybody's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from receiver.model.delivery import Delivery
from receiver.model.rate_limit import RateLimit
from receiver.store import gauges, inbox, job_leases, job_pages, jobs, rate_buckets, throttle_state
from receiver.store.database import Database
from receiver.store.job_leases import JobClaim
from receiver.store.job_pages import JobFilter
from receiver.store.jobs import ClientKeyReused, NewJob, Row
from receiver.store.leases import Lease
from receiver.store.states import JobKind, JobState

NOW = 1_700_000_000.0
LEASE = 60.0
DEADLINE = NOW + 3600


SPEECH = {"text": "Hello", "voice": "alloy"}


def own(number: int) -> str:
    return f"job_{number:032x}"


def watch(database: Database, *ids: str, source: str = "aitts", at: float = NOW) -> list[bool]:
    return [database.transact(jobs.watch, f"{source}-{job}", source, job, NOW, at, DEADLINE)[1] for job in ids]


def enqueue(database: Database, number: int = 1, key: str | None = None, **values: Any) -> tuple[Row, bool]:
    new = {"source": "aitts", "request": SPEECH, "now": NOW, "deadline_at": DEADLINE, **values}
    return database.transact(jobs.enqueue, NewJob(id=own(number), submit_key=f"key-{number}", client_key=key, **new))


def claim(database: Database, now: float = NOW, limit: int = 10, source: str = "aitts") -> list[JobClaim]:
    return database.transact(job_leases.claim, source, limit, now, Lease("me", now + LEASE))


def ids(claims: list[JobClaim]) -> list[str]:
    return sorted(held.job_id or held.id for held in claims)


def job(database: Database, job_id: str = "a") -> Row:
    [found] = database.query(jobs.find, job_id, "aitts")
    return found


def reschedule(database: Database, held: JobClaim, at: float, **values: Any) -> bool:
    return database.transact(lambda connection: job_leases.reschedule(connection, held, at, NOW, **values))


def end(database: Database, held: JobClaim, state: JobState = JobState.COMPLETED, *, polls: int = 1) -> bool:
    return database.transact(
        lambda connection: job_leases.complete(connection, held, state, NOW + 9, "evt_1", polls=polls)
    )


def next_due(database: Database, source: str = "aitts") -> float | None:
    return database.query(job_leases.next_due, source)


# watching


def test_a_watched_job_is_due_as_asked_and_has_its_deadline(database: Database) -> None:
    assert watch(database, "a", at=NOW + 5) == [True]
    row = job(database)
    assert (row["state"], row["created_at"], row["due_at"], row["deadline_at"]) == (
        "watching",
        NOW,
        NOW + 5,
        DEADLINE,
    )
    assert (row["polls"], row["misses"], row["event_id"], row["error"]) == (0, 0, None, None)


def test_a_job_that_is_watched_twice_is_one_and_stays_as_it_was(database: Database) -> None:
    watch(database, "a")
    before = job(database)
    again = database.transact(jobs.watch, "another", "aitts", "a", NOW + 50, NOW + 60, NOW + 70)
    assert again == (before, False)
    assert job(database) == before


def test_what_a_watched_job_is_can_be_said_at_once_or_later_but_not_of_one_that_was_submitted_here(
    database: Database,
) -> None:
    def said(id: str, job_id: str, kind: JobKind | None) -> tuple[JobKind | None, bool]:
        row, new = database.transact(jobs.watch, id, "aitts", job_id, NOW, NOW, DEADLINE, kind)
        return jobs.kind_of(row), new

    assert said("job_1", "a", JobKind.TASK) == (JobKind.TASK, True)
    assert said("job_2", "a", None) == (JobKind.TASK, False)
    assert said("job_3", "b", None) == (None, True)
    assert not database.query(jobs.is_task, "aitts", "b")
    assert said("job_4", "b", JobKind.TASK) == (JobKind.TASK, False)
    assert database.query(jobs.is_task, "aitts", "b")
    assert not database.query(jobs.is_task, "other", "b")
    submitted = {"source": "aitts", "request": {"text": "Hi"}, "submit_key": "key", "client_key": None}
    speech, _ = database.transact(
        jobs.enqueue, NewJob(id=own(9), **submitted, now=NOW, deadline_at=DEADLINE, kind=JobKind.SPEECH)
    )
    (claim,) = database.transact(job_leases.claim, "aitts", 1, NOW, Lease("me", NOW + 60))
    database.transact(job_leases.mark_submitted, claim, "c", NOW, NOW, DEADLINE)
    assert (speech["id"], *said("job_5", "c", JobKind.TASK)) == (claim.id, JobKind.SPEECH, False)


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
    assert claim(database) == [
        JobClaim("aitts-a", "aitts", "a", JobState.WATCHING, 1, 0, 0, 0, NOW, DEADLINE, None, None)
    ]


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
    assert ids(claim(database, limit=2)) == ["late", "later"]
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
        database.transact(jobs.cancel, "aitts-a", NOW)
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


# rescheduling


def test_a_poll_of_a_running_job_is_counted_and_gives_the_job_back(database: Database) -> None:
    watch(database, "a")
    [held] = claim(database)
    assert reschedule(database, held, NOW + 2, progress=40)
    row = job(database)
    assert (row["polls"], row["progress"], row["due_at"], row["lease_until"]) == (1, 40, NOW + 2, None)
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
    assert database.transact(job_leases.release, held, NOW + 9, NOW)
    row = job(database)
    assert (row["polls"], row["misses"], row["progress"], row["error"]) == (1, 3, 40, "Why.")
    assert (row["due_at"], row["lease_until"]) == (NOW + 9, None)


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
    assert end(database, held, polls=0)
    assert job(database)["polls"] == 0


def test_an_ended_job_can_be_pointed_to_the_event_that_was_there_before(database: Database) -> None:
    watch(database, "a", "b")
    for held in claim(database):
        end(database, held)
    database.transact(job_leases.set_event, "aitts-a", "evt_0")
    assert (job(database)["event_id"], job(database, "b")["event_id"]) == ("evt_0", "evt_1")


# by hand


def test_a_cancel_while_a_poll_is_on_its_way_wins(database: Database) -> None:
    watch(database, "a")
    [held] = claim(database)
    assert database.transact(jobs.cancel, "aitts-a", NOW + 1) is True
    before = job(database)
    assert (before["state"], before["ended_at"], before["lease_until"]) == ("cancelled", NOW + 1, None)
    assert end(database, held) is False
    assert reschedule(database, held, NOW + 2) is False
    assert job(database) == before


def test_what_is_not_watched_can_be_neither_cancelled_nor_polled(database: Database) -> None:
    watch(database, "a")
    database.transact(jobs.cancel, "aitts-a", NOW)
    for id_ in ("aitts-a", "unknown"):
        assert database.transact(jobs.cancel, id_, NOW) is False
        assert database.transact(jobs.poll_now, id_, NOW) is False


def test_a_job_asked_for_now_is_due_now(database: Database) -> None:
    watch(database, "a", at=NOW + 999)
    assert claim(database) == []
    assert database.transact(jobs.poll_now, "aitts-a", NOW) is True
    assert ids(claim(database)) == ["a"]


def test_a_job_asked_for_now_is_still_not_polled_twice_at_one_time(database: Database) -> None:
    watch(database, "a")
    claim(database)
    database.transact(jobs.poll_now, "aitts-a", NOW + 1)
    assert claim(database, NOW + 1) == []


# reading


def test_jobs_are_listed_the_newest_first_by_source_and_state(database: Database) -> None:
    for number, (source, job_id) in enumerate([("aitts", "a"), ("other", "b"), ("aitts", "c")]):
        database.transact(jobs.watch, own(number), source, job_id, NOW, NOW, DEADLINE)
    database.transact(jobs.cancel, own(0), NOW)

    def listed(limit: int = 50, **criteria: Any) -> list[str]:
        return [row["job_id"] for row in database.query(job_pages.list_jobs, JobFilter(**criteria), limit)]

    assert listed() == ["c", "b", "a"]
    assert listed(2) == ["c", "b"]
    assert listed(source="aitts") == ["c", "a"]
    assert listed(states=["cancelled"]) == ["a"]
    assert listed(source="other", states=["cancelled"]) == []
    assert listed(older_than=own(2)) == ["b", "a"]


@pytest.mark.parametrize("sources", [60, 1])
def test_a_list_shows_the_newest_jobs_of_every_source(
    database: Database, monkeypatch: pytest.MonkeyPatch, sources: int
) -> None:
    """Also where there are too many sources to search for the jobs of each."""
    monkeypatch.setattr(job_pages, "MAX_SOURCES", sources)
    for n in range(9):
        values = (f"job_{n}", ("one", "two", "three")[n % 3], f"job-{n}", NOW, NOW, NOW + 60)
        database.transact(jobs.watch, *values)
        if n % 4 == 0:
            database.transact(jobs.cancel, f"job_{n}", NOW)

    def listed(limit: int = 9, **criteria: Any) -> list[str]:
        return [
            row["id"] for row in database.query(job_pages.list_jobs, JobFilter(**criteria), limit, job_pages.SUMMARY)
        ]

    assert listed(states=["watching"]) == ["job_7", "job_6", "job_5", "job_3", "job_2", "job_1"]
    assert listed(2, states=["watching"], older_than="job_6") == ["job_5", "job_3"]
    assert listed(states=["cancelled", "watching"], source="two") == ["job_7", "job_4", "job_1"]
    assert listed(states=["completed"]) == []


def test_a_job_is_found_by_either_id_and_at_every_source_that_has_it(database: Database) -> None:
    watch(database, "a")
    watch(database, "a", source="other")
    enqueue(database)
    assert [row["source"] for row in database.query(jobs.find, "a")] == ["aitts", "other"]
    assert [row["id"] for row in database.query(jobs.find, "a", "other")] == ["other-a"]
    assert [row["id"] for row in database.query(jobs.find, own(1))] == [own(1)]
    assert database.query(jobs.find, "b") == []
    assert database.query(jobs.get, "nobody") is None


# watching again


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_a_job_that_is_watched_no_longer_can_be_watched_again(database: Database, how: str) -> None:
    watch(database, "a")
    [held] = claim(database)
    if how == "cancelled":
        database.transact(jobs.cancel, "aitts-a", NOW)
    else:
        end(database, held, JobState.EXPIRED)
    row, new = database.transact(jobs.watch, "another", "aitts", "a", NOW + 5, NOW + 6, NOW + 7)
    assert new
    assert (row["id"], row["state"], row["due_at"], row["deadline_at"]) == ("aitts-a", "watching", NOW + 6, NOW + 7)
    assert (row["ended_at"], row["event_id"]) == (None, None)


# events


def test_an_event_ends_the_job_that_it_tells_of_in_the_same_transaction(
    database: Database, delivery: Callable[..., Delivery]
) -> None:
    watch(database, "a", "b")
    watch(database, "a", source="other")
    delivered = delivery(job="a", type="job.failed", received_at=NOW + 3)
    database.transact(inbox.accept, [delivered, delivery(job="c")])
    row = job(database)
    assert (row["state"], row["event_id"], row["ended_at"]) == ("failed", delivered.event_id, NOW + 3)
    assert job(database, "b")["state"] == "watching"
    assert ids(claim(database, source="other")) == ["a"]


def test_an_event_in_quarantine_ends_no_job_until_it_is_released(
    database: Database, delivery: Callable[..., Delivery]
) -> None:
    watch(database, "a")
    kept = delivery(job="a", quarantined=True)
    database.transact(inbox.accept, [kept])
    assert job(database)["state"] == "watching"
    assert database.transact(inbox.release, {kept.event_id: []}, NOW)
    assert (job(database)["state"], job(database)["event_id"]) == ("completed", kept.event_id)


def test_a_job_whose_event_is_here_already_has_ended_when_it_is_watched(
    database: Database, delivery: Callable[..., Delivery]
) -> None:
    delivered = delivery(job="a")
    database.transact(inbox.accept, [delivered])
    assert watch(database, "a") == [True]
    assert (job(database)["state"], job(database)["event_id"]) == ("completed", delivered.event_id)
    assert claim(database, NOW + 999) == []


def test_whoever_holds_a_job_learns_that_an_event_has_ended_it(
    database: Database, delivery: Callable[..., Delivery]
) -> None:
    watch(database, "a")
    [held] = claim(database)
    assert database.query(job_leases.was_completed_by_event, held, "evt_2") is False
    database.transact(inbox.accept, [delivery(job="a")])
    assert database.query(job_leases.was_completed_by_event, held, "evt_2") is True
    assert end(database, held) is False


# submitting


def submitted(database: Database, held: JobClaim, job_id: str = "a", now: float = NOW + 1) -> Row | None:
    return database.transact(job_leases.mark_submitted, held, job_id, now, now + 5, now + 100)


def test_an_intent_is_there_before_anything_is_asked(database: Database) -> None:
    row, new = enqueue(database)
    assert new
    assert (row["state"], row["job_id"], row["request"], row["submits"]) == ("submitting", None, SPEECH, 0)
    assert (row["due_at"], row["deadline_at"], row["submit_key"]) == (NOW, DEADLINE, "key-1")


def test_one_client_key_is_one_job_and_no_other_request(database: Database) -> None:
    first, _ = enqueue(database, 1, "mine")
    assert enqueue(database, 2, "mine") == (first, False)
    with pytest.raises(ClientKeyReused, match=own(1)):
        enqueue(database, 3, "mine", request={"text": "Bye", "voice": "alloy"})
    with pytest.raises(ClientKeyReused):
        enqueue(database, 4, "mine", source="other")
    assert len(database.query(job_pages.list_jobs, JobFilter(), 9)) == 1


def test_a_client_key_with_other_options_is_another_request(database: Database) -> None:
    given = {"seed": 1, "x": {"deep": [1.0, None, "ü"]}}
    first, _ = enqueue(database, 1, "mine", request=SPEECH | {"options": given})
    again = SPEECH | {"options": dict(reversed(given.items()))}
    assert enqueue(database, 2, "mine", request=again) == (first, False)
    for other in ({"seed": 2}, given | {"seed": True}, given | {"seed": "1"}, {"seed": 1}):
        with pytest.raises(ClientKeyReused):
            enqueue(database, 3, "mine", request=SPEECH | {"options": other})
    with pytest.raises(ClientKeyReused):
        enqueue(database, 4, "mine")


def test_what_is_to_be_submitted_is_claimed_before_what_is_to_be_polled(database: Database) -> None:
    watch(database, "a", at=NOW - 99)
    enqueue(database)
    assert [(held.id, held.state) for held in claim(database, limit=1)] == [(own(1), JobState.SUBMITTING)]
    assert ids(claim(database)) == ["a"]


def test_a_claim_to_submit_has_the_request_and_its_key(database: Database) -> None:
    enqueue(database)
    [held] = claim(database)
    assert (held.job_id, held.request, held.submit_key, held.submits) == (None, SPEECH, "key-1", 0)


def test_a_request_counts_from_before_it_is_made_and_not_if_it_was_refused_for_sure(database: Database) -> None:
    enqueue(database)
    [held] = claim(database)
    assert database.transact(job_leases.begin_submit, held)
    assert database.query(jobs.get, own(1))["submits"] == 1
    database.transact(
        lambda c: job_leases.reschedule_submit(c, held, NOW, NOW, "provider_rate_limited", "Wait.", refused=True)
    )
    [held] = claim(database)
    assert held.submits == 0
    database.transact(job_leases.begin_submit, held)
    database.transact(lambda c: job_leases.reschedule_submit(c, held, NOW, NOW, "timeout", "Late.", refused=False))
    [held] = claim(database)
    assert held.submits == 1


def test_a_submitted_job_is_watched_under_the_provider_s_id(database: Database) -> None:
    enqueue(database)
    [held] = claim(database)
    row = submitted(database, held)
    assert row == database.query(jobs.get, own(1))
    assert (row["state"], row["job_id"], row["submitted_at"], row["lease_until"]) == ("watching", "a", NOW + 1, None)
    assert (row["due_at"], row["deadline_at"]) == (NOW + 6, NOW + 101)


def test_a_submitted_job_whose_event_was_quicker_has_ended(
    database: Database, delivery: Callable[..., Delivery]
) -> None:
    enqueue(database)
    [held] = claim(database)
    delivered = delivery(job="a")
    database.transact(inbox.accept, [delivered])
    row = submitted(database, held)
    assert row is not None
    assert (row["state"], row["event_id"]) == ("completed", delivered.event_id)


def test_a_submitted_job_takes_over_the_one_that_was_watched_under_its_id(database: Database) -> None:
    enqueue(database)
    [held] = claim(database)
    watch(database, "a")
    submitted(database, held)
    assert [row["id"] for row in database.query(jobs.find, "a")] == [own(1)]


def test_two_submits_with_one_id_do_not_become_one_job_in_silence(database: Database) -> None:
    for number in (1, 2):
        enqueue(database, number)
        [held] = claim(database)
        submitted(database, held)
    assert job(database)["id"] == own(1)
    second = database.query(jobs.get, own(2))
    assert (second["state"], second["error_code"], second["job_id"]) == ("failed", "same_job", None)
    assert own(1) in second["error"]


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.UNKNOWN])
def test_a_submit_that_came_to_nothing_says_why_and_is_not_tried_again(database: Database, state: JobState) -> None:
    enqueue(database)
    [held] = claim(database)
    assert database.transact(job_leases.mark_not_submitted, held, state, NOW + 2, "provider_invalid", "No such voice.")
    row = database.query(jobs.get, own(1))
    assert (row["state"], row["error_code"], row["error"], row["ended_at"]) == (
        state, "provider_invalid", "No such voice.", NOW + 2
    )  # fmt: skip
    assert claim(database, NOW + 9999) == []


def test_whoever_lost_a_submit_writes_nothing_any_more(database: Database) -> None:
    enqueue(database)
    [lost] = claim(database)
    [held] = claim(database, NOW + LEASE + 1)
    before = database.query(jobs.get, own(1))
    assert database.transact(job_leases.begin_submit, lost) is False
    assert submitted(database, lost) is None
    assert database.transact(job_leases.mark_not_submitted, lost, JobState.FAILED, NOW, "x", "y") is False
    assert database.query(jobs.get, own(1)) == before
    assert submitted(database, held) is not None


def test_only_a_submit_that_has_not_begun_can_be_cancelled(database: Database) -> None:
    enqueue(database, 1)
    enqueue(database, 2)
    [held] = claim(database, limit=1)
    assert database.transact(jobs.cancel, own(1), NOW) is False
    assert database.transact(jobs.cancel, own(2), NOW) is True
    database.transact(job_leases.begin_submit, held)
    database.transact(lambda c: job_leases.reschedule_submit(c, held, NOW, NOW, "timeout", "Late.", refused=False))
    assert database.transact(jobs.cancel, own(1), NOW) is False
    assert ids(claim(database)) == [own(1)]


def unknown(database: Database) -> None:
    enqueue(database)
    [held] = claim(database)
    database.transact(job_leases.mark_not_submitted, held, JobState.UNKNOWN, NOW, "timeout", "Nobody can say.")


def test_a_person_who_finds_the_job_of_an_unknown_one_has_it_watched(
    database: Database, delivery: Callable[..., Delivery]
) -> None:
    unknown(database)
    watch(database, "a")
    row = database.transact(jobs.adopt, own(1), "a", NOW + 5, NOW + 50)
    assert (row["id"], row["state"], row["job_id"], row["due_at"]) == (own(1), "watching", "a", NOW + 5)
    assert (row["error"], row["ended_at"], row["deadline_at"]) == (None, None, NOW + 50)
    assert len(database.query(jobs.find, "a")) == 1
    database.transact(inbox.accept, [delivery(job="a")])
    assert job(database)["state"] == "completed"


def test_only_an_unknown_job_takes_an_id_and_no_other_submitted_ones(database: Database) -> None:
    unknown(database)
    enqueue(database, 2)
    [held] = claim(database)
    submitted(database, held)
    assert database.transact(jobs.adopt, own(2), "b", NOW, NOW) is None
    assert database.transact(jobs.adopt, own(1), "a", NOW, NOW) is None
    assert database.query(jobs.get, own(1))["state"] == "unknown"


def test_an_unknown_job_that_a_person_did_not_find_can_be_closed(database: Database) -> None:
    unknown(database)
    assert database.transact(jobs.cancel, own(1), NOW) is True
    assert database.query(jobs.get, own(1))["state"] == "cancelled"


# what a source's loop waits for


def test_the_next_due_time_is_that_of_the_states_asked_for(database: Database) -> None:
    watch(database, "a", at=NOW + 7)
    enqueue(database)
    assert next_due(database) == NOW
    assert database.query(job_leases.next_due, "aitts", [JobState.WATCHING]) == NOW + 7


def test_a_pace_is_kept_by_turns_that_everybody_takes_from_one_row(database: Database) -> None:
    assert database.query(throttle_state.get, "aitts") == throttle_state.ThrottleState()
    assert database.transact(throttle_state.reserve_times, "aitts", 3, NOW, 0.5) == [NOW, NOW + 0.5, NOW + 1]
    assert database.transact(throttle_state.reserve_times, "aitts", 1, NOW, 0.5) == [NOW + 1.5]
    assert database.transact(throttle_state.reserve_times, "other", 1, NOW, 0.5) == [NOW]
    assert database.transact(throttle_state.reserve_times, "aitts", 1, NOW + 9, 0.5) == [NOW + 9]


@pytest.mark.parametrize(
    ("taken_until", "interval", "ahead", "free"),
    [(0.0, 0.5, 1.0, 3), (1.0, 0.5, 1.0, 1), (1.5, 0.5, 1.0, 0), (99.0, 100.0, 1.0, 0), (0.0, 100.0, 1.0, 1)],
)
def test_times_are_free_as_far_ahead_as_is_asked(taken_until: float, interval: float, ahead: float, free: int) -> None:
    assert throttle_state.ThrottleState(next_request_at=NOW + taken_until).free_times(NOW, interval, ahead) == free


def test_a_longer_pause_stays_and_a_shorter_one_changes_nothing(database: Database) -> None:
    for until, reason, kept in [(30, "unauthorized", 30), (10, "limited", 30), (60, "limited", 60)]:
        database.transact(throttle_state.pause, "aitts", NOW + until, reason, NOW)
        assert database.query(throttle_state.get, "aitts").pause_until == NOW + kept
    assert database.query(throttle_state.get, "aitts").why == "limited"
    assert database.query(throttle_state.get, "other") == throttle_state.ThrottleState()


def test_a_pause_can_be_seen_and_lifted(database: Database) -> None:
    database.transact(throttle_state.pause, "aitts", NOW + 30, "unauthorized", NOW)
    database.transact(rate_buckets.record, "other", RateLimit(10, 0, NOW + 30, "account"), NOW)
    assert set(database.query(throttle_state.pauses, NOW)) == {"aitts", "other"}
    assert database.query(throttle_state.pauses, NOW + 30) == {}
    database.transact(throttle_state.resume, "aitts")
    assert set(database.query(throttle_state.pauses, NOW)) == {"other"}
    database.transact(throttle_state.resume, "other")
    assert database.query(throttle_state.pauses, NOW) == {}


# what is outstanding


def test_open_jobs_are_counted_and_a_silent_source_is_seen(
    database: Database, delivery: Callable[..., Delivery]
) -> None:
    watch(database, "a", "b")
    enqueue(database)
    assert database.query(gauges.counts) == {("aitts", "watching"): 2, ("aitts", "submitting"): 1}
    assert database.query(gauges.silent_seconds, ["aitts", "other"], NOW + 60) == {"aitts": 60, "other": 0}
    database.transact(throttle_state.record_response, "aitts", NOW + 40)
    assert database.query(gauges.silent_seconds, ["aitts"], NOW + 60) == {"aitts": 20}
    database.transact(inbox.accept, [delivery(job="a", received_at=NOW + 55)])
    assert database.query(gauges.silent_seconds, ["aitts"], NOW + 60) == {"aitts": 5}


def test_a_page_of_jobs_with_long_texts_is_bounded_and_none_is_left_out(database: Database) -> None:
    for n, size in enumerate([9, 3_000_000, 2_000_000, 9_000_000, 9, 9]):
        request = {"text": "x" * size}
        new = jobs.NewJob(
            id=f"job_{n}", source="aitts", request=request, submit_key=f"{n}", client_key=None, now=NOW, deadline_at=NOW
        )
        database.transact(jobs.enqueue, new)
    pages = []
    before, more = None, True
    while more:
        page, more = database.query(job_pages.page_of_jobs, JobFilter(older_than=before), 200)
        before = page[-1]["id"]
        pages.append([row["id"] for row in page])
    assert pages == [["job_5", "job_4"], ["job_3"], ["job_2"], ["job_1", "job_0"]]
    assert database.query(job_pages.page_of_jobs, JobFilter(), 1)[1] is True
    assert database.query(job_pages.page_of_jobs, JobFilter(source="none"), 9) == ([], False)


# jobs that are submitted as streams


def claim_new(database: Database, number: int = 1, owner: str = "me", now: float = NOW) -> JobClaim | None:
    return database.transact(job_leases.claim_new, own(number), now, Lease(owner, now + LEASE))


def test_a_new_job_is_claimed_by_who_stored_it_and_again_if_the_answer_was_lost(database: Database) -> None:
    enqueue(database)
    first = claim_new(database)
    assert first is not None
    assert claim(database) == []
    assert claim_new(database, owner="another") is None
    again = claim_new(database)
    assert again is not None
    assert again.claim == first.claim + 1


def test_a_new_job_that_is_submitted_or_over_is_not_claimed_as_new(database: Database) -> None:
    enqueue(database)
    held = claim_new(database)
    assert held is not None
    assert database.transact(job_leases.begin_submit, held)
    assert claim_new(database) is None
    enqueue(database, 2)
    assert database.transact(jobs.cancel, own(2), NOW)
    assert claim_new(database, 2) is None
    assert claim_new(database, 3) is None


def test_what_was_submitted_as_a_stream_says_so_until_it_was_refused(database: Database) -> None:
    enqueue(database)
    held = claim_new(database)
    assert held is not None
    assert not held.streamed
    assert database.transact(lambda connection: job_leases.begin_submit(connection, held, streamed=True))
    [again] = claim(database, NOW + LEASE + 1)
    assert (again.streamed, again.submits) == (True, 1)
    assert database.transact(
        lambda connection: job_leases.reschedule_submit(connection, again, NOW, NOW, "timeout", "No.", refused=False)
    )
    [again] = claim(database, NOW + LEASE + 2)
    assert again.streamed

    enqueue(database, 2)
    held = claim_new(database, 2)
    assert held is not None
    assert database.transact(lambda connection: job_leases.begin_submit(connection, held, streamed=True))
    assert database.transact(
        lambda connection: job_leases.reschedule_submit(connection, held, NOW, NOW, "limit", "Wait.", refused=True)
    )
    [refused] = [of for of in claim(database, NOW + LEASE + 2) if of.id == own(2)]
    assert (refused.streamed, refused.submits, refused.submit_key) == (False, 0, "key-2")
