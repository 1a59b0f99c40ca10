"""One source's throttle: the store's times, the rate limiter of the process, and pauses, for all that ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.engine.throttle import MAX_WAIT_SECONDS, SourceThrottled, Throttle, request_times
from receiver.model.rate_plan import RequestKind
from receiver.outbound.client import Client
from receiver.outbound.guard import AddressGuard
from receiver.providers.types import Request, Response
from receiver.store import throttle_state
from receiver.telemetry.hooks import Telemetry
from tests.integration.engine_support import NOW, fresh_store
from tests.integration.outbound_support import ReceivedRequest, Say, Server, serving
from tests.stores import open_store

pytestmark = pytest.mark.anyio


class JumpingClock:
    """Jumps to whatever is waited for."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


class Bench:
    """A source with a request a second, asked by as many processes as a test makes."""

    def __init__(self, path: Path, server: Server) -> None:
        self.server = server
        self.clock = JumpingClock()
        self.database = open_store(path)
        self.database.start()
        self.client = Client(AddressGuard(allow_private=True))
        self.sent: list[float] = []
        self.request = Request("GET", server.url("/"), {}, None)
        server.behave = self.answer

    def answer(self, request: ReceivedRequest) -> Say:
        self.sent.append(self.clock.now() - NOW)
        return Say(200)

    def process(self) -> Throttle:
        return Throttle(self.database, "aitts", 1.0, self.clock, Telemetry())

    async def call(self, throttle: Throttle) -> int:
        return await throttle.call(
            RequestKind.VOICES, self.client, self.request, lambda response: response.status, 10.0
        )

    async def send(self, throttle: Throttle) -> Response:
        return await throttle.send(RequestKind.VOICES, self.client, self.request, asyncio.Event())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with serving() as server:
        made = Bench(fresh_store(tmp_path / "receiver.db"), server)
        yield made
        await made.client.aclose()
        await asyncio.to_thread(made.database.close)


async def test_all_processes_together_keep_the_rate(bench: Bench) -> None:
    one, other = bench.process(), bench.process()
    for throttle in (one, other, other, one):
        assert await bench.call(throttle) == 200
    assert bench.sent == pytest.approx([0, 1.02, 2.04, 3.06])


async def test_a_job_that_is_late_for_its_time_and_a_caller_that_is_on_time_are_not_sent_together(bench: Bench) -> None:
    throttle = bench.process()
    await bench.database.write(throttle.reserve, 1, NOW)
    bench.clock.time += 0.9  # its intent was committed late, perhaps
    await bench.send(throttle)
    await bench.call(throttle)
    assert bench.sent[0] == pytest.approx(0.9)
    assert bench.sent[1] - bench.sent[0] >= 1


async def test_a_time_that_is_too_far_ahead_is_refused_with_how_long_to_wait_and_not_taken(bench: Bench) -> None:
    throttle = bench.process()
    await bench.database.write(throttle.reserve, 11, NOW)
    taken = (await bench.database.read(throttle_state.get, "aitts")).next_request_at
    with pytest.raises(SourceThrottled, match=r"^No request was sent: .* used up\. Try again in 11 s\.$") as caught:
        await bench.call(throttle)
    assert caught.value.reason == "source_throttled"
    assert caught.value.retry_after == pytest.approx(11 * 1.02)
    assert (await bench.database.read(throttle_state.get, "aitts")).next_request_at == taken
    assert bench.sent == []


async def test_a_pause_that_another_process_stores_while_a_request_waits_stops_it(bench: Bench) -> None:
    throttle = bench.process()
    await bench.database.write(throttle.reserve, 3, NOW)
    await bench.database.write(throttle_state.pause, "aitts", NOW + 60, "blocked_address", NOW)
    assert await throttle.wait_for(RequestKind.VOICES, NOW + 3, asyncio.Event()) is False
    with pytest.raises(SourceThrottled, match=r"the source aitts is paused \(blocked_address\)") as caught:
        await bench.call(throttle)
    assert caught.value.reason == "source_paused"
    assert caught.value.retry_after == pytest.approx(57)
    bench.clock.time = NOW + 60
    assert await bench.call(throttle) == 200


async def test_a_reserved_time_is_never_further_ahead_than_is_said(bench: Bench) -> None:
    throttle, furthest = bench.process(), 0.0
    await bench.database.write(throttle.reserve, int(MAX_WAIT_SECONDS / 1.02), NOW)
    while True:
        now = bench.clock.now()
        try:
            await bench.database.write(throttle._reserve_soon, RequestKind.VOICES, now, MAX_WAIT_SECONDS)
        finally:
            ahead = (await bench.database.read(throttle_state.get, "aitts")).next_request_at - now
        if ahead == furthest:
            break
        furthest = ahead
    assert furthest <= request_times(1.0).longest
