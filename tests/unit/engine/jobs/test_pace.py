"""When jobs are polled: their schedule, the source's pace, and several processes at once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from receiver.engine.jobs.source import LEASE_SECONDS
from receiver.store import inbox, job_leases
from receiver.store.leases import Lease
from tests.integration.engine_support import NOW
from tests.integration.outbound_support import ReceivedRequest, Say, serving
from tests.unit.engine.jobs.support import COMPLETED, FAILED, PENDING, Polling, status, webhook

pytestmark = pytest.mark.anyio


# how often


async def test_the_first_poll_is_at_once_and_the_next_ever_rarer_up_to_the_cap(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: PENDING)
    await up.poller()
    await up.pass_time(400)
    gaps = [later - earlier for earlier, later in zip(up.times, up.times[1:], strict=False)]
    assert up.times[0] == 0
    assert all(2 - 1e-3 <= gap <= 60 + 1e-3 for gap in gaps)
    assert gaps[0] <= 2.4 + 1e-3
    assert gaps[-1] > 35
    assert len(gaps) < 20
    assert (up.job()["polls"], up.job()["state"]) == (len(up.times), "watching")


async def test_progress_says_when_to_ask_again(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: status("PENDING", progress=50))
    await up.poller()
    await up.until_idle()
    await up.jump(40)  # asked now, after 40 seconds and at 50 %: 40 more are to come, half of them is waited
    assert up.job()["progress"] == 50
    assert up.job()["due_at"] - up.clock.now() == pytest.approx(20, rel=0.21)


@pytest.mark.parametrize(("rate", "jobs"), [(0.01, 3), (0.5, 12), (2.0, 12)])
async def test_the_requests_per_second_are_never_exceeded_whatever_is_due(up: Polling, rate: float, jobs: int) -> None:
    ids = [f"job-{number}" for number in range(jobs)]
    up.watch(*ids)
    up.answers(lambda job: PENDING if len(up.polls[job]) == 1 else COMPLETED)
    await up.poller(rate=rate)
    await up.until_idle()
    while up.states() != {"completed": jobs}:
        assert up.clock.now() < NOW + (2 * jobs + 1) / rate + 100
        await up.pass_time(5 / rate)
    gaps = [later - earlier for earlier, later in zip(up.times, up.times[1:], strict=False)]
    assert len(up.times) == 2 * jobs
    assert min(gaps) >= 1 / rate - 1e-3
    assert len(up.events()) == jobs


async def test_a_job_whose_webhook_was_first_does_not_use_up_a_turn(up: Polling) -> None:
    up.watch("told", "open")
    with up.writing() as database:
        database.transact(inbox.accept, [webhook("told")])
    up.answers(lambda job: COMPLETED)
    await up.poller(rate=0.1)
    await up.until_idle()
    assert up.states() == {"completed": 2}
    assert up.times == [0]


async def test_a_queue_of_submits_does_not_hold_polls_up(up: Polling) -> None:
    def accepted(request: ReceivedRequest) -> Say:
        body = json.dumps({"data": {"jobId": f"job-{len(up.submits)}", "status": "PENDING"}}).encode()
        return Say(200, {"Content-Type": "application/json"}, body)

    up.takes_on(accepted)
    loop = await up.poller(rate=0.5)
    up.watch("watched")
    for number in range(16):
        up.submit(f"Number {number}.")
    loop.wake()
    await up.pass_time(30)
    assert len(up.submits) >= 5
    assert len(up.polls["watched"]) >= 2
    assert up.polls["job-1"], "a submitted job is polled while others wait to be submitted"
    requests = len(up.submits) + sum(len(times) for times in up.polls.values())
    assert requests <= 30 * 0.5 + 1


# one another


async def test_a_source_that_is_down_does_not_hold_up_another(up: Polling) -> None:
    never = asyncio.Event()

    async def hang(job: str) -> Say:
        await never.wait()
        return COMPLETED

    async with serving() as other:
        other.behave = lambda request: COMPLETED
        up.answers(hang)
        up.watch(*(f"stuck-{number}" for number in range(10)))
        up.watch("b", source="other")
        await up.poller()
        await up.until(lambda: len(up.times) == 10)
        well = await up.poller(source="other", base_url=other.url("").rstrip("/"))
        await up.until(lambda: well.stands_still(up.clock))
        assert up.job("b", "other")["state"] == "completed"
        assert up.states() == {"watching": 10, "completed": 1}
        never.set()
        await up.until_idle()
        assert up.states() == {"completed": 11}


async def test_two_pollers_never_ask_about_one_job_at_one_time(up: Polling) -> None:
    ids = [f"job-{number:02}" for number in range(16)]
    up.watch(*ids)
    go, inside, peak = asyncio.Event(), Counter[str](), Counter[str]()

    async def behave(job: str) -> Say:
        inside[job] += 1
        peak[job] = max(peak[job], inside[job])
        up.signal.notify()
        await go.wait()
        inside[job] -= 1
        return PENDING if len(up.polls[job]) < 3 else COMPLETED

    up.answers(behave)
    await up.poller()
    await up.poller()
    await up.until(lambda: inside.total() == 16)
    go.set()
    await up.pass_time(30)
    assert up.states() == {"completed": 16}
    assert peak == dict.fromkeys(ids, 1)
    assert {job: len(times) for job, times in up.polls.items()} == dict.fromkeys(ids, 3)
    assert [event["duplicates"] for event in up.events()] == [0] * 16


async def test_a_poller_that_lost_its_lease_changes_nothing_any_more(up: Polling) -> None:
    up.watch("a")
    go = asyncio.Event()

    async def behave(job: str) -> Say:
        if len(up.polls[job]) > 1:
            return COMPLETED
        await go.wait()
        return FAILED

    up.answers(behave)
    slow = await up.poller()
    await up.until(lambda: up.times)
    up.clock.set(NOW + LEASE_SECONDS + 1)
    quick = await up.poller()
    await up.until(lambda: quick.stands_still(up.clock) and up.states() == {"completed": 1})
    counted = {"usage_pending": None, "counted": None}  # whichever poller claims next counts what it was charged
    before = up.job() | counted
    go.set()
    await up.until(lambda: slow.stands_still(up.clock))
    assert up.job() | counted == before
    assert (up.event()["type"], up.event()["duplicates"]) == ("job.completed", 0)


async def test_a_job_in_somebody_elses_hands_is_waited_for_without_haste(up: Polling) -> None:
    up.watch("a")
    with up.writing() as database:
        database.transact(job_leases.claim, "miragic", 8, NOW, Lease("other", NOW + LEASE_SECONDS))
    up.answers(lambda job: COMPLETED)
    poller = await up.poller()
    await up.until_idle()
    assert up.clock.moments(poller._wake_event) == [NOW + 1]  # a look a second, as when there is nothing to do
    await up.pass_time(LEASE_SECONDS - 1)
    assert up.times == []
    await up.pass_time(2)
    assert up.states() == {"completed": 1}
