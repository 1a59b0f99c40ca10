"""The machine's clock is set while jobs are in hand, or is wrong from the start: nothing stops or is given up."""

from __future__ import annotations

import itertools
from email.utils import formatdate

import pytest
from sqlalchemy import text

from receiver.engine.clock_trust import ClockTrust
from receiver.model.poll_schedule import PollSchedule
from receiver.store import jobs
from tests.integration.engine_support import NOW
from tests.integration.outbound_support import Say
from tests.stores import query
from tests.unit.engine.jobs.support import PENDING, Polling

pytestmark = pytest.mark.anyio

DAYS = 86_400.0


def dated(say: Say, at: float) -> Say:
    """The same answer with the provider's clock in it."""
    return Say(say.status, {**say.headers, "Date": formatdate(at, usegmt=True)}, say.body)


async def test_a_job_that_has_its_turn_is_polled_though_the_clock_is_set_back_meanwhile(up: Polling) -> None:
    up.watch("a", "b")
    up.answers(lambda job: PENDING)
    await up.poller(rate=2)
    await up.until_idle()
    assert len(up.polls) == 1, "the other one has its turn half a second later"
    up.clock.step(-3600)
    await up.pass_time(1)
    assert set(up.polls) == {"a", "b"}


async def test_requests_keep_their_distance_and_go_on_when_the_clock_is_set_back(up: Polling) -> None:
    polled_at: list[float] = []

    def answer(job: str) -> Say:
        polled_at.append(up.clock.monotonic())
        return PENDING

    up.watch(*"abcd")
    up.answers(answer)
    await up.poller(rate=0.5)
    await up.until_idle()
    up.clock.step(-3600)
    with up.writing() as database:  # as the watch does
        database.transact(lambda c: c.execute(text("UPDATE jobs SET due_at = due_at - 3600")))
        database.transact(lambda c: c.execute(text("UPDATE source_state SET next_request_at = next_request_at - 3600")))
    await up.pass_time(10)
    assert len(polled_at) >= 4
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(polled_at))


async def test_a_job_past_its_deadline_by_a_clock_that_is_days_ahead_is_not_given_up(up: Polling) -> None:
    up.watch("a", deadline=3000)
    up.answers(lambda job: PENDING)
    up.clock.step(40 * DAYS)
    await up.poller(trust=ClockTrust(up.clock))
    await up.pass_time(60)
    assert (up.job()["state"], up.events()) == ("watching", [])
    assert 3 < len(up.polls["a"]) < 15, "at its usual pace"


async def test_a_date_of_the_provider_that_disagrees_does_not_end_the_doubt(up: Polling) -> None:
    up.watch("a", deadline=3000)
    up.clock.step(40 * DAYS)
    up.answers(lambda job: dated(PENDING, up.clock.monotonic()))
    await up.poller(trust=ClockTrust(up.clock))
    await up.pass_time(60)
    assert up.job()["state"] == "watching"


async def test_a_job_past_its_deadline_is_given_up_once_the_provider_says_the_same_time(up: Polling) -> None:
    up.watch("a", deadline=3000)
    up.clock.set(up.clock.now() + 40 * DAYS)  # so long nothing ran
    up.answers(lambda job: dated(PENDING, up.clock.now() - 20))
    await up.poller(trust=ClockTrust(up.clock))
    await up.pass_time(10)
    assert (up.job()["state"], len(up.polls["a"])) == ("expired", 1)


async def test_a_deadline_that_passes_while_we_run_needs_nobody_elses_clock(up: Polling) -> None:
    trust = ClockTrust(up.clock)
    up.watch("a", deadline=50)
    up.answers(lambda job: PENDING)
    await up.poller(trust=trust)
    await up.pass_time(51)
    assert up.job()["state"] == "expired"


async def test_a_submit_past_its_deadline_by_a_wrong_clock_is_neither_made_nor_given_up(up: Polling) -> None:
    up.takes_on(lambda polled_at: Say(500))
    await up.poller(schedule=PollSchedule(deadline_seconds=3600.0), trust=ClockTrust(up.clock))
    up.clock.step(-40 * DAYS)
    id = up.submit("Hello")
    up.clock.step(40 * DAYS)
    await up.pass_time(30)
    with up.writing() as database:
        row = database.query(jobs.get, id)
    assert row is not None
    assert (row["state"], up.submits) == ("submitting", [])


async def test_a_pause_by_the_providers_clock_is_as_long_as_it_says_though_ours_is_wrong(up: Polling) -> None:
    """`X-RateLimit-Reset` is a time of the provider's: by our clock, ten hours behind, it would be ten hours away."""
    limit = {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0"}
    up.watch("a")
    up.clock.step(-10 * 3600)
    with up.writing() as database:  # as the watch does
        database.transact(lambda c: c.execute(text("UPDATE jobs SET due_at = due_at - 36000")))

    def answer(job: str) -> Say:
        theirs = up.clock.monotonic()
        said = dated(PENDING, theirs)
        return Say(said.status, {**said.headers, **limit, "X-RateLimit-Reset": str(int(theirs) + 40)}, said.body)

    up.answers(answer)
    await up.poller()
    await up.pass_time(1)
    [bucket] = query(up.store, "SELECT * FROM rate_buckets")
    assert bucket["pause_until"] + 10 * 3600 == pytest.approx(NOW + 41, abs=1)
