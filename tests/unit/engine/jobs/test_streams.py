"""Jobs that are submitted as streams: by the process that stored them, once, and as any other job if it cannot."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from receiver.engine.jobs.service import JobService
from receiver.engine.jobs.source import LEASE_SECONDS
from receiver.engine.jobs.streaming import MAX_AHEAD_SECONDS, StreamService, StreamStart
from receiver.outbound.client import Client
from receiver.outbound.guard import AddressGuard
from receiver.providers import PROVIDERS
from receiver.providers.types import Speech
from receiver.store import job_leases, jobs, throttle_state
from receiver.store.leases import Lease
from tests.integration.engine_support import NOW
from tests.integration.outbound_support import ReceivedRequest, Say
from tests.recording import recorder
from tests.unit.engine.jobs.support import Polling, Watched

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

SOURCE = "aitts"
SPEECH = Speech(text="Hello", voice="alloy")


def accepted(job_id: str = "a", **data: Any) -> Say:
    address = {"stream_url": f"https://live.example/{job_id}", "transport_format": "mp3"}
    body = {"success": True, "data": {"job_id": job_id, "status": "pending", **address, **data}}
    return Say(202, {"Content-Type": "application/json"}, json.dumps(body).encode())


def error(status: int, code: str, **headers: str) -> Say:
    return Say(status, headers, json.dumps({"success": False, "error": {"code": code, "message": "No."}}).encode())


async def loop_of(up: Polling, **values: Any) -> Watched:
    return await up.poller(source=SOURCE, provider=PROVIDERS[SOURCE], **values)


def service(up: Polling, loop: Watched) -> StreamService:
    database, clock, rng = loop.deps.database, up.clock, up.rng
    service = JobService(database, up.sources, lambda _: loop.wake(), lambda name: name, clock=clock, rng=rng)
    return StreamService(
        database, service, {SOURCE: loop}, lambda _: loop.wake(), lambda _: Client(AddressGuard(False)), 1 << 20,
        clock=clock, rng=rng,
    )  # fmt: skip


async def start(up: Polling, loop: Watched, key: str | None = None) -> StreamStart:
    await up.until_idle()
    starting = asyncio.ensure_future(service(up, loop).submit(recorder(), SOURCE, SPEECH, key))
    starting.add_done_callback(lambda _: up.signal.notify())
    await up.until(starting.done)
    return starting.result()


def paths(up: Polling) -> list[str]:
    return [request.path for request in up.submits]


def row(up: Polling, id: str) -> dict[str, Any]:
    with up.writing() as database:
        found = database.query(jobs.get, id)
    assert found is not None
    return found


async def test_a_job_is_stored_submitted_once_by_its_own_process_and_then_watched(up: Polling) -> None:
    stored: list[tuple[str, int, int]] = []

    def behave(request: ReceivedRequest) -> Say:
        with up.writing() as database:
            [found] = database.query(lambda connection: connection.execute(jobs.jobs.select()).all())
        stored.append((found.state, found.submits, found.streamed))
        return accepted()

    up.takes_on(behave)
    loop = await loop_of(up)
    await loop_of(up)  # another process, which would submit any job that is free

    begun = await start(up, loop)

    assert stored == [("submitting", 1, 1)]
    assert paths(up) == ["/api/v1/tts/stream"]
    assert "idempotency-key" not in up.submits[0].headers
    assert (begun.new, begun.row["state"], begun.row["job_id"]) == (True, "watching", "a")
    assert begun.stream is not None
    assert (begun.stream.url, begun.stream.headers, begun.stream.format) == ("https://live.example/a", {}, "mp3")
    await up.jump(LEASE_SECONDS + 1)
    await up.jump(LEASE_SECONDS + 1)
    assert len(up.submits) == 1
    assert up.times


@pytest.mark.parametrize("say", [Say(500), Say(202, {}, b"{}"), Say(202, {}, b"x" * 50, cut=10), error(503, "X")])
async def test_a_submit_whose_outcome_is_lost_is_unknown_and_never_repeated(up: Polling, say: Say) -> None:
    up.takes_on(lambda request: say)
    loop = await loop_of(up)
    await loop_of(up)

    begun = await start(up, loop)
    await up.jump(LEASE_SECONDS + 1)
    await up.jump(LEASE_SECONDS + 1)

    assert begun.stream is None
    assert row(up, begun.row["id"])["state"] == "unknown"
    assert paths(up) == ["/api/v1/tts/stream"]


async def test_a_process_that_dies_in_the_request_leaves_the_job_unknown(up: Polling) -> None:
    up.takes_on(lambda request: accepted())
    await loop_of(up)
    id = up.submit(source=SOURCE)
    with up.writing() as database:
        claim = database.transact(job_leases.claim_new, id, NOW, Lease("dead", NOW + LEASE_SECONDS))
        assert claim is not None
        assert database.transact(lambda connection: job_leases.begin_submit(connection, claim, streamed=True))

    await up.jump(LEASE_SECONDS + 1)
    await up.jump(1)

    assert (row(up, id)["state"], row(up, id)["error_code"]) == ("unknown", "submit_lost")
    assert up.submits == []


async def test_a_process_that_dies_before_the_request_leaves_a_job_as_any_other(up: Polling) -> None:
    up.takes_on(lambda request: accepted())
    await loop_of(up)
    id = up.submit(source=SOURCE)
    with up.writing() as database:
        assert database.transact(job_leases.claim_new, id, NOW, Lease("dead", NOW + LEASE_SECONDS)) is not None

    await up.jump(LEASE_SECONDS + 1)
    await up.jump(1)

    assert row(up, id)["state"] == "watching"
    assert paths(up) == ["/api/v1/tts"]


async def test_a_refusal_that_can_be_retried_is_retried_with_a_key_and_without_a_stream(up: Polling) -> None:
    up.takes_on(lambda request: accepted() if "idempotency-key" in request.headers else error(429, "X"))
    loop = await loop_of(up)

    begun = await start(up, loop)

    assert begun.stream is None
    assert (begun.row["state"], begun.row["submits"], begun.row["streamed"]) == ("submitting", 0, 0)
    await up.jump(120)
    await up.jump(1)
    assert paths(up) == ["/api/v1/tts/stream", "/api/v1/tts"]
    assert up.submits[1].headers["idempotency-key"] == begun.row["submit_key"]
    assert row(up, begun.row["id"])["state"] == "watching"


async def test_a_definite_refusal_fails_the_job(up: Polling) -> None:
    up.takes_on(lambda request: error(402, "INSUFFICIENT_CREDITS"))
    begun = await start(up, await loop_of(up))
    assert (begun.stream, begun.row["state"], begun.row["error_code"]) == (None, "failed", "provider_credits")


@pytest.mark.parametrize("paused", [True, False])
async def test_a_source_that_is_not_free_soon_submits_the_job_without_a_stream(up: Polling, paused: bool) -> None:
    up.takes_on(lambda request: accepted())
    loop = await loop_of(up, rate=1.0)
    until = NOW + MAX_AHEAD_SECONDS + 10
    with up.writing() as database:
        if paused:
            database.transact(throttle_state.pause, SOURCE, until, "a test", NOW)
        else:
            database.transact(throttle_state.reserve_times, SOURCE, 20, NOW, 1.0)

    begun = await start(up, loop)

    assert (begun.new, begun.stream, begun.row["state"]) == (True, None, "submitting")
    await up.jump(60)
    await up.jump(1)
    assert paths(up) == ["/api/v1/tts"]


async def test_a_caller_that_is_gone_loses_no_job(up: Polling) -> None:
    held = asyncio.Event()

    async def behave(request: ReceivedRequest) -> Say:
        await held.wait()
        return accepted()

    up.takes_on(behave)
    loop = await loop_of(up)
    await up.until_idle()
    starting = asyncio.ensure_future(service(up, loop).submit(recorder(), SOURCE, SPEECH))
    await up.until(lambda: up.submits)
    starting.cancel()
    held.set()
    await up.until(lambda: up.states()["watching"])
    assert paths(up) == ["/api/v1/tts/stream"]


async def test_the_same_key_is_the_same_job(up: Polling) -> None:
    up.takes_on(lambda request: accepted())
    loop = await loop_of(up)
    first = await start(up, loop, "mine")
    again = await start(up, loop, "mine")
    assert (again.new, again.stream, again.row["id"]) == (False, None, first.row["id"])
    assert len(up.submits) == 1


async def test_a_job_that_is_being_stored_is_not_released_as_unknown(up: Polling) -> None:
    """After an outage a loop releases what it does not know of; a job with a lease that is just stored is known."""
    up.takes_on(lambda request: accepted())
    loop = await loop_of(up)
    await up.until_idle()
    id = up.submit(source=SOURCE)
    loop.storing.add(id)
    with up.writing() as database:
        lease = Lease(loop.deps.owner, NOW + LEASE_SECONDS)
        assert database.transact(job_leases.claim_new, id, NOW, lease) is not None
    loop._claims_unknown = True
    loop.wake()
    await up.jump(1)
    assert row(up, id)["lease_owner"] == loop.deps.owner
    assert up.submits == []
