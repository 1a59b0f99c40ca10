"""Webhooks as a receiver sees them: content, retries, and each way in which they go wrong."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import replace
from functools import partial

import pytest

from receiver.simulator import DEFAULT_RETRIES, Simulator
from tests.clocks import CallbackClock, SetClock

from .conftest import QUICK, Inbox

pytestmark = pytest.mark.anyio


def genuine(sim: Simulator, inbox: Inbox, n: int = -1) -> bool:
    """Verified here without the simulator's own code."""
    t, _, mac = inbox.headers[n]["x-tts-signature"].removeprefix("t=").partition(",v1=")
    signed = t.encode() + b"." + inbox.bodies[n]
    return mac == hmac.digest(sim.signing_secret.encode(), signed, hashlib.sha256).hex()


def stamp(inbox: Inbox, n: int) -> int:
    return int(inbox.headers[n]["x-tts-signature"].split(",")[0][2:])


async def test_a_completed_job_is_announced_with_its_metadata(sim: Simulator, inbox: Inbox) -> None:
    job_id = await sim.submit("Hello", metadata={"order": "ä"})
    await sim.wait_until(lambda: sim.deliveries)
    assert genuine(sim, inbox)
    body = json.loads(inbox.bodies[0])
    assert body["event"] == inbox.headers[0]["x-tts-event"] == "job.completed"
    assert body["data"]["job_id"] == job_id
    assert body["data"]["metadata"] == {"order": "ä"}
    assert body["data"]["audio_endpoint"] == f"{sim.base_url}/api/v1/tts/{job_id}/audio"
    [delivery] = sim.deliveries
    assert (delivery.status, delivery.attempt, delivery.accepted) == (202, 1, True)
    assert delivery.delivery_id == inbox.headers[0]["x-tts-delivery-id"]


async def test_a_failed_job_is_announced_with_its_error(sim: Simulator, inbox: Inbox) -> None:
    await sim.submit("[fail]")
    await sim.wait_until(lambda: sim.deliveries)
    body = json.loads(inbox.bodies[0])
    assert body["event"] == "job.failed"
    assert body["data"]["status"] == "failed"
    assert body["data"]["error"]["code"] == "GENERATION_FAILED"


async def test_the_address_in_a_submit_overrides_the_account_s(inbox: Inbox) -> None:
    async with Simulator(job_seconds=0.0, webhook_url="http://127.0.0.1:9/none") as sim:
        await sim.submit("Hello", webhook_url=inbox.url)
        await sim.wait_until(lambda: sim.deliveries)
        assert genuine(sim, inbox)


async def test_an_older_body_does_not_name_the_audio_endpoint(sim: Simulator, inbox: Inbox) -> None:
    sim.settings = replace(sim.settings, include_audio_endpoint=False)
    await sim.submit("Hello")
    await sim.wait_until(lambda: sim.deliveries)
    assert "audio_endpoint" not in json.loads(inbox.bodies[0])["data"]


async def test_retries_stop_at_the_first_2xx_and_keep_body_and_id(sim: Simulator, inbox: Inbox) -> None:
    inbox.answers = [500, 307, 503]
    await sim.submit("Hello")
    await sim.wait_until(lambda: sim.deliveries and sim.deliveries[-1].accepted)
    assert [d.status for d in sim.deliveries] == [500, 307, 503, 202]
    assert [d.attempt for d in sim.deliveries] == [1, 2, 3, 4]
    assert len(set(inbox.bodies)) == 1
    assert len({h["x-tts-delivery-id"] for h in inbox.headers}) == 1


@pytest.mark.parametrize("resign", [True, False])
async def test_a_retry_is_signed_anew_or_not_as_set(inbox: Inbox, *, resign: bool) -> None:
    ticks = iter(range(1000, 100_000, 10))
    inbox.answers = [500]
    async with Simulator(
        job_seconds=0.0,
        retry_schedule=QUICK,
        webhook_url=inbox.url,
        new_signature_per_retry=resign,
        clock=CallbackClock(now=lambda: float(next(ticks))),
    ) as sim:
        await sim.submit("Hello")
        await sim.wait_until(lambda: len(sim.deliveries) == 2)
        assert genuine(sim, inbox, 0)
        assert genuine(sim, inbox, 1)
        assert (stamp(inbox, 1) > stamp(inbox, 0)) is resign


async def test_the_eighth_refusal_is_the_last(sim: Simulator, inbox: Inbox) -> None:
    inbox.answers = [500] * 9
    await sim.submit("Hello")
    await sim.wait_until(lambda: len(sim.deliveries) == 8)
    await sim.submit("Next")
    await sim.wait_until(lambda: len(sim.deliveries) == 10)
    assert len({d.delivery_id for d in sim.deliveries}) == 2


def test_the_usual_schedule_is_8_attempts_over_about_38_hours() -> None:
    assert len(DEFAULT_RETRIES) + 1 == 8
    assert 37 < sum(DEFAULT_RETRIES) / 3600 < 39


async def test_every_wait_is_by_the_given_clock(inbox: Inbox) -> None:
    inbox.answers = [500] * 7
    clock = SetClock(1_000_000.0)
    async with Simulator(job_seconds=3600.0, webhook_url=inbox.url, clock=clock) as sim:
        job = sim.jobs[await sim.submit("Hello")]
        await sim.wait_until(lambda: len(sim.deliveries) == 8)
        assert clock.waited == [3600.0 * sim.jobs.jitter(job), *DEFAULT_RETRIES]
        assert {delivery.at for delivery in sim.deliveries} == {job.ended_at} == {1_000_000.0}


async def test_an_unreachable_receiver_is_recorded_as_an_error(sim: Simulator) -> None:
    sim.webhook_url = "http://127.0.0.1:9/none"
    await sim.submit("Hello")
    await sim.wait_until(lambda: len(sim.deliveries) == 8)
    assert sim.deliveries[0].status is None
    assert "ConnectError" in (sim.deliveries[0].error or "")


async def test_a_duplicate_is_the_same_delivery_twice(sim: Simulator, inbox: Inbox) -> None:
    sim.force("duplicate")
    await sim.submit("Hello")
    await sim.wait_until(lambda: len(sim.deliveries) == 2)
    assert inbox.bodies[0] == inbox.bodies[1]
    assert {d.kind for d in sim.deliveries} == {"regular", "duplicate"}
    for name in ("x-tts-delivery-id", "x-tts-signature"):
        assert inbox.headers[0][name] == inbox.headers[1][name]


async def test_a_reordered_delivery_comes_after_a_later_one(sim: Simulator) -> None:
    sim.force("reorder")
    first = await sim.submit("First")
    await sim.wait_until(lambda: sim.injected["reorder"])
    second = await sim.submit("Second")
    await sim.wait_until(lambda: len(sim.deliveries) == 2)
    assert [d.job_id for d in sim.deliveries] == [second, first]


async def test_a_skewed_clock_shows_in_the_signature(sim: Simulator, inbox: Inbox) -> None:
    sim.faults = replace(sim.faults, clock_skew=-3600.0)
    await sim.submit("Hello")
    await sim.wait_until(lambda: sim.deliveries)
    assert genuine(sim, inbox)
    assert -3700 < stamp(inbox, 0) - time.time() < -3500


async def test_a_slow_body_comes_in_many_pieces(sim: Simulator, inbox: Inbox) -> None:
    sim.force("slow_body", value=0.1)
    await sim.submit("Hello")
    await sim.wait_until(lambda: sim.deliveries)
    assert inbox.pieces > 5
    assert genuine(sim, inbox)


async def test_a_truncated_webhook_does_not_verify_and_its_retry_does(sim: Simulator, inbox: Inbox) -> None:
    sim.force("truncated_webhook")
    inbox.answers = [401]
    await sim.submit("Hello")
    await sim.wait_until(lambda: len(sim.deliveries) == 2)
    assert not genuine(sim, inbox, 0)
    assert inbox.bodies[1].startswith(inbox.bodies[0])
    assert genuine(sim, inbox, 1)


async def test_a_dropped_webhook_breaks_off_and_its_retry_is_whole(sim: Simulator, inbox: Inbox) -> None:
    sim.force("dropped_webhook")
    await sim.submit("Hello")
    await sim.wait_until(lambda: len(sim.deliveries) == 2)
    await inbox.broke.wait()
    assert sim.deliveries[0].status is None
    assert genuine(sim, inbox)


async def test_a_forged_delivery_comes_before_the_true_one(sim: Simulator, inbox: Inbox) -> None:
    sim.force("forged")
    await sim.submit("Hello")
    await sim.wait_until(lambda: len(sim.deliveries) == 2)
    assert [d.kind for d in sim.deliveries] == ["forged", "regular"]
    assert [genuine(sim, inbox, n) for n in (0, 1)] == [False, True]


async def test_a_lost_webhook_is_never_sent(sim: Simulator, inbox: Inbox) -> None:
    sim.force("lost_webhook")
    lost = await sim.submit("Lost")
    await sim.wait_until(lambda: sim.injected["lost_webhook"])
    await sim.submit("Found")
    await sim.wait_until(lambda: sim.deliveries)
    assert lost not in {d.job_id for d in sim.deliveries}
    assert len(inbox.bodies) == 1


def decided(sim: Simulator, count: int) -> bool:
    return sim.injected["lost_webhook"] + len(sim.deliveries) == count


async def test_rates_decide_by_the_seed_alone(inbox: Inbox) -> None:
    async def lost() -> list[int]:
        async with Simulator(seed=5, job_seconds=0.0, webhook_url=inbox.url) as sim:
            sim.faults = replace(sim.faults, lost_webhook=0.5)
            for n in range(8):
                await sim.submit(f"Job {n}")
                await sim.wait_until(partial(decided, sim, n + 1))
            sent = {d.job_id for d in sim.deliveries}
            return [job.number for job in sim.jobs if job.id not in sent]

    first = await lost()
    assert first == await lost()
    assert 0 < len(first) < 8


async def test_an_extra_delivery_is_sent_as_asked(sim: Simulator, inbox: Inbox) -> None:
    job_id = await sim.submit("Hello")
    await sim.wait_until(lambda: sim.deliveries)
    assert await sim.deliver(job_id) == 202
    assert genuine(sim, inbox)
    assert await sim.deliver(job_id, "job.failed", secret="other", t=1) == 202
    assert not genuine(sim, inbox)
    assert stamp(inbox, -1) == 1
    assert json.loads(inbox.bodies[-1])["event"] == "job.failed"
    assert await sim.deliver(job_id, body=b"not json") == 202
    assert (inbox.bodies[-1], genuine(sim, inbox)) == (b"not json", True)
    assert await sim.deliver(job_id, url="http://127.0.0.1:9/") is None
    assert [d.kind for d in sim.deliveries][1:] == ["extra"] * 4


async def test_an_extra_delivery_without_an_address_is_an_error() -> None:
    async with Simulator(job_seconds=None) as sim:
        job_id = await sim.submit("Hello")
        with pytest.raises(ValueError, match="no webhook address"):
            await sim.deliver(job_id)


async def test_waiting_for_what_does_not_come_times_out(sim: Simulator) -> None:
    with pytest.raises(TimeoutError):
        await sim.wait_until(lambda: False, timeout=0.01)


async def test_a_retry_that_is_far_off_does_not_delay_the_end(inbox: Inbox) -> None:
    inbox.answers = [500]
    async with Simulator(job_seconds=0.0, webhook_url=inbox.url) as sim:
        await sim.submit("Hello")
        await sim.wait_until(lambda: sim.deliveries)
        began = time.monotonic()
    assert time.monotonic() - began < DEFAULT_RETRIES[0]
    assert len(inbox.bodies) == 1


async def test_many_jobs_at_once_are_each_announced_once(inbox: Inbox) -> None:
    async with Simulator(job_seconds=0.01, webhook_url=inbox.url) as sim:
        ids = await asyncio.gather(*(sim.submit(f"Job {n}") for n in range(100)))
        await sim.wait_until(lambda: len(sim.deliveries) == 100)
        assert {d.job_id for d in sim.deliveries} == set(ids)
        assert len(set(ids)) == 100
