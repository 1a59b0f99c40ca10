"""The hooks for telemetry, called by a receiver over real sockets: which, in what order, with which tokens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver import Context, Event, JobCompleted, Reject, handler
from receiver.app import Receiver
from receiver.assembly.receiver import build_receiver
from receiver.engine import dispatcher
from receiver.engine.handler import Handler
from receiver.errors import AudioError, QuarantineFull, SignatureError
from receiver.providers.types import Speech
from receiver.settings import Settings
from receiver.simulator import Simulator
from receiver.simulator.serving import LoopServer
from receiver.telemetry.hooks import LEASE_LOST, Telemetry
from tests.integration.engine_support import Gate, Signal, registry
from tests.integration.intake_support import completed, configured, signature, until_waiting
from tests.integration.outbound_support import ReceivedRequest, Say, make_wav, serving
from tests.integration.telemetry_support import Broken, Recorder
from tests.recording import recorder
from tests.stores import WriteLock, execute

pytestmark = pytest.mark.anyio

Ctx = Context[Any]
RECEIVED = [("delivery_received", "delivery_received 0")]
STORED = [*RECEIVED, ("event_stored", None), ("delivery_stored", "delivery_received 0")]
STARTED = [*STORED, ("run_claimed", None), ("run_started", "run_started 0")]


class Up:
    """A started receiver, a provider that delivers to it over a socket, and what was reported."""

    def __init__(self, receiver: Receiver, recorder: Recorder, client: httpx.AsyncClient, signal: Signal) -> None:
        self.receiver, self.recorder, self.client, self.signal = receiver, recorder, client, signal

    async def deliver(self, body: bytes, **headers: str) -> int:
        signed = {"X-TTS-Signature": signature(body), **headers}
        return (await self.client.post("/webhooks/aitts", content=body, headers=signed)).status_code

    async def until(self, hook: str) -> None:
        await self.signal.until(lambda: self.recorder.arguments(hook))


@asynccontextmanager
async def receiving(settings: Settings, *handlers: Handler, beside: Telemetry | None = None) -> AsyncIterator[Up]:
    signal = Signal()
    recorder = Recorder(signal.notify)
    receiver = build_receiver(settings, registry(*handlers), None, beside or Telemetry(), recorder)
    async with (
        receiver.public.router.lifespan_context(receiver.public),
        LoopServer(receiver.public, "127.0.0.1", 0) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
    ):
        yield Up(receiver, recorder, client, signal)
    assert recorder.unended() == []


@asynccontextmanager
async def storage(say: Say) -> AsyncIterator[dict[str, Any]]:
    """The table of a source whose audio is answered like this."""

    def answer(request: ReceivedRequest) -> Say:
        return say

    async with serving(answer) as server:
        yield {"base_url": server.url(""), "api_key": "an-api-key-0123456789", "allow_private_addresses": True}


def scope(signed: str | None = None) -> dict[str, Any]:
    """A delivery's, for a call without a server."""
    headers = [] if signed is None else [(b"x-tts-signature", signed.encode())]
    return {"type": "http", "method": "POST", "path": "/webhooks/aitts", "headers": headers, "query_string": b""}


async def unanswered(message: Any) -> None:
    """The `send` of a call that must send nothing."""
    raise AssertionError(message)


@handler(on=JobCompleted)
async def save(event: JobCompleted, ctx: Ctx) -> None:
    await ctx.audio()


@handler(on=Event)
async def refuse(event: Event, ctx: Ctx) -> None:
    raise Reject("no")


async def test_a_delivery_is_reported_from_its_arrival_until_its_audio_is_stored(tmp_path: Path) -> None:
    audio = Say(200, {"Content-Type": "audio/wav"}, make_wav(0.2))
    async with storage(audio) as source, receiving(configured(tmp_path, source=source), save) as up:
        assert await up.deliver(completed("job_1")) == 202
        await up.until("run_finished")
        await up.deliver(completed("job_1"))
    recorder = up.recorder
    assert recorder.calls == [
        *STARTED,
        ("fetch_started", "fetch_started 0"),
        ("fetch_stored", "fetch_started 0"),
        ("run_finished", "run_started 0"),
        ("delivery_received", "delivery_received 1"),
        ("delivery_stored", "delivery_received 1"),
    ]
    [(delivery,)] = recorder.arguments("event_stored")
    assert (delivery.source, delivery.type, delivery.job_id) == ("aitts", "job.completed", "job_1")
    event = delivery.event_id
    stored = [(receipt.event_id, outcome) for _, receipt, outcome in recorder.arguments("delivery_stored")]
    assert stored == [(event, "accepted"), (event, "duplicate")]
    [(claim,)], [(started, waited)] = recorder.arguments("run_claimed"), recorder.arguments("run_started")
    [(result, seconds, trace)] = recorder.arguments("run_finished")
    assert claim.key == started.key == result.claim.key == (event, "save", 1)
    assert (result.outcome, trace) == ("succeeded", "")
    assert waited >= 0
    assert recorder.arguments("fetch_started") == [("aitts", event, "job_1", 0)]
    [(_, _, artifact)] = recorder.arguments("fetch_stored")
    assert (artifact.event_id, artifact.n, artifact.bytes) == (event, 0, len(make_wav(0.2)))
    assert 0 <= artifact.fetch_seconds <= seconds


async def test_a_class_of_hooks_that_always_raises_stops_nothing(tmp_path: Path) -> None:
    audio = Say(200, {"Content-Type": "audio/wav"}, make_wav(0.2))
    async with storage(audio) as source:
        settings = configured(tmp_path, source=source)
        async with receiving(settings, save, beside=Broken()) as up:
            assert await up.deliver(completed("job_1")) == 202
            await up.until("run_finished")
            assert await up.deliver(completed("job_1")) == 202
            assert await up.deliver(b"{}", **{"X-TTS-Signature": "t=1,v1=00"}) == 401
            metrics = up.receiver.metrics.render().decode()
    [(result, _, _)] = up.recorder.arguments("run_finished")
    assert result.outcome == "succeeded"
    assert 'tts_receiver_deliveries_total{outcome="accepted",source="aitts"} 1.0' in metrics
    assert 'tts_receiver_telemetry_errors_total{hook="run_started"} 1.0' in metrics
    assert 'tts_receiver_telemetry_errors_total{hook="delivery_received"} 3.0' in metrics


async def test_a_refused_delivery_ends_with_its_error_and_stores_nothing(tmp_path: Path) -> None:
    async with receiving(configured(tmp_path), refuse) as up:
        assert await up.deliver(b"{}", **{"X-TTS-Signature": "t=1,v1=00"}) == 401
    assert up.recorder.calls == [*RECEIVED, ("delivery_refused", "delivery_received 0")]
    [(source, status, outcome, error, client)] = up.recorder.arguments("delivery_refused")
    assert (source, status, client) == ("aitts", 401, "127.0.0.1")
    assert isinstance(error, SignatureError)
    assert error.reason == outcome


async def test_a_delivery_whose_work_is_cancelled_ends_without_a_reason_and_is_not_counted(tmp_path: Path) -> None:
    async with receiving(configured(tmp_path), refuse) as up:
        reading = asyncio.Event()

        async def receive() -> dict[str, Any]:
            reading.set()
            await asyncio.Event().wait()
            raise AssertionError

        task = asyncio.ensure_future(up.receiver.public(scope(), receive, unanswered))
        await reading.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert "tts_receiver_deliveries_total{" not in up.receiver.metrics.render().decode()
    assert up.recorder.calls == [*RECEIVED, ("delivery_refused", "delivery_received 0")]
    [(_, status, outcome, error, _)] = up.recorder.arguments("delivery_refused")
    assert (status, outcome, type(error)) == (None, None, asyncio.CancelledError)


async def cancel_during_commit(up: Up, body: bytes, *, at: float | None = None) -> None:
    """Deliver, and cancel the request while another process keeps the store from committing."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    with WriteLock(up.receiver.database):
        task = asyncio.ensure_future(up.receiver.public(scope(signature(body, at=at)), receive, unanswered))
        await until_waiting(up.receiver)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


async def test_a_delivery_whose_work_is_cancelled_during_its_commit_is_reported_as_stored_and_dispatched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "POLL_INTERVAL_SECONDS", 3600.0)
    async with receiving(configured(tmp_path), refuse) as up:
        await cancel_during_commit(up, completed("job_1"))
        await up.until("run_finished")
        metrics = up.receiver.metrics.render().decode()
    assert up.recorder.calls == [*STARTED, ("run_finished", "run_started 0")]
    [(_, _, outcome)] = up.recorder.arguments("delivery_stored")
    assert outcome == "accepted"
    assert 'tts_receiver_deliveries_total{outcome="accepted",source="aitts"} 1.0' in metrics


async def test_a_delivery_whose_work_is_cancelled_and_that_is_not_stored_ends_with_the_reason(tmp_path: Path) -> None:
    async with receiving(configured(tmp_path, store={"max_quarantined": 1}), refuse) as up:
        stale = time.time() - 9999
        body = completed("job_1")
        assert await up.deliver(body, **{"X-TTS-Signature": signature(body, at=stale)}) == 202
        await cancel_during_commit(up, completed("job_2"), at=stale)
        await up.until("delivery_refused")
    assert up.recorder.calls == [
        *STORED,
        ("delivery_received", "delivery_received 1"),
        ("delivery_refused", "delivery_received 1"),
    ]
    [(_, status, outcome, error, _)] = up.recorder.arguments("delivery_refused")
    assert (status, outcome, type(error)) == (None, "quarantine_full", QuarantineFull)


async def test_a_delivery_before_the_start_is_reported_as_refused(tmp_path: Path) -> None:
    recorder = Recorder(lambda: None)
    receiver = build_receiver(configured(tmp_path), registry(refuse), None, recorder)
    transport = httpx.ASGITransport(receiver.public)
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver.test") as client:
        assert (await client.post("/webhooks/aitts", content=b"{}")).status_code == 503
        assert (await client.get("/webhooks/aitts")).status_code == 503
        assert (await client.post("/webhooks/other", content=b"{}")).status_code == 503
    assert recorder.calls == [*RECEIVED, ("delivery_refused", "delivery_received 0")]
    [(source, status, outcome, error, client_address)] = recorder.arguments("delivery_refused")
    assert (source, status, outcome, client_address) == ("aitts", 503, "not_running", "127.0.0.1")
    assert "was not started" in str(error)
    assert 'outcome="not_running",source="aitts"} 1.0' in receiver.metrics.render().decode()


async def test_a_failed_run_finishes_with_its_result(tmp_path: Path) -> None:
    async with receiving(configured(tmp_path), refuse) as up:
        await up.deliver(completed("job_1"))
        await up.until("run_finished")
    assert up.recorder.calls == [*STARTED, ("run_finished", "run_started 0")]
    [(result, _, _)] = up.recorder.arguments("run_finished")
    assert (result.outcome, result.state, result.error) == ("rejected", "dead", "no")


async def test_a_run_whose_lease_is_lost_ends_when_its_result_is_discarded(tmp_path: Path) -> None:
    gate = Gate(Signal())

    @handler(on=Event)
    async def wait(event: Event, ctx: Ctx) -> None:
        await gate.wait_open()

    async with receiving(configured(tmp_path), wait) as up:
        await up.deliver(completed("job_1"))
        await gate._signal.until(lambda: gate.inside)
        execute(up.receiver.database, "UPDATE runs SET attempt = 2, lease_owner = 'other', lease_until = 9e9")
        gate.open()
        await up.until("run_discarded")
    assert up.recorder.calls == [*STARTED, ("run_discarded", "run_started 0")]
    [(claim, outcome, seconds, reason)] = up.recorder.arguments("run_discarded")
    assert (claim.key[1:], outcome, reason) == (("wait", 1), "succeeded", LEASE_LOST)
    assert seconds >= 0


async def test_a_failed_fetch_ends_before_its_run(tmp_path: Path) -> None:
    async with storage(Say(410)) as source, receiving(configured(tmp_path, source=source), save) as up:
        await up.deliver(completed("job_1"))
        await up.until("run_finished")
    assert up.recorder.calls == [
        *STARTED,
        ("fetch_started", "fetch_started 0"),
        ("fetch_failed", "fetch_started 0"),
        ("run_finished", "run_started 0"),
    ]
    [(source_name, event, job, n, seconds, reason, error)] = up.recorder.arguments("fetch_failed")
    assert (source_name, job, n, reason) == ("aitts", "job_1", 0, "audio_gone")
    assert isinstance(error, AudioError)
    assert seconds >= 0
    assert event == up.recorder.arguments("run_started")[0][0].event_id


async def test_a_job_is_reported_from_its_submit_until_a_poll_has_stored_its_event(tmp_path: Path) -> None:
    async with Simulator(job_seconds=None) as sim:
        source = {
            "base_url": sim.base_urls["aitts"],
            "api_key": sim.api_key,
            "allow_private_addresses": True,
            "poll": {"requests_per_second": 1000, "first_seconds": 0.1},
        }
        sim.force("lost_webhook")
        async with receiving(configured(tmp_path, source=source), refuse) as up:
            row, _ = await up.receiver.jobs.submit(recorder(), "aitts", Speech(text="Hello.", voice="alloy"))
            await up.until("job_submitted")
            await up.receiver.jobs.wait_until_submitted(row["id"], 60)
            [job] = [submitted.id for submitted in sim.jobs]
            sim.finish(job)
            await up.until("run_finished")
    calls, polls = up.recorder.calls, len(up.recorder.arguments("job_polled"))

    def calls_of(number: int, what: str) -> list[tuple[str, str | None]]:
        token = f"request_sent {number}"
        return [("request_sent", token), ("request_answered", token), (what, None)]

    asks = [*calls_of(0, "job_submitted"), *(call for n in range(polls) for call in calls_of(n + 1, "job_polled"))]
    assert calls[: len(asks)] == asks
    run = [("run_claimed", None), ("run_started", "run_started 0"), ("run_finished", "run_started 0")]
    assert calls[len(asks) :] == [("event_stored", None), *run]
    assert up.recorder.arguments("job_submitted") == [("aitts", row["id"], "submitted", None)]
    outcomes = [(job, "running")] * (polls - 1) + [(job, "ended")]
    assert up.recorder.arguments("job_polled") == [("aitts", *outcome, None) for outcome in outcomes]
    assert [status for _, status in up.recorder.arguments("request_answered")][1:] == [200] * polls
    [(delivery,)] = up.recorder.arguments("event_stored")
    assert (delivery.origin, delivery.job_id) == ("poll", job)


async def test_a_provider_that_cannot_be_reached_ends_the_request_with_its_error(tmp_path: Path) -> None:
    source = {"base_url": "http://127.0.0.1:1", "api_key": "an-api-key-0123456789", "allow_private_addresses": True}
    async with receiving(configured(tmp_path, source=source), refuse) as up:
        row, _ = await up.receiver.jobs.submit(recorder(), "aitts", Speech(text="Hello.", voice="alloy"))
        await up.until("job_submitted")
    assert up.recorder.calls == [
        ("request_sent", "request_sent 0"),
        ("request_failed", "request_sent 0"),
        ("job_submitted", None),
    ]
    [(_, own_id, reason, error)] = up.recorder.arguments("job_submitted")
    assert (own_id, reason) == (row["id"], "connect_failed")
    assert up.recorder.arguments("request_failed") == [("aitts", error)]
