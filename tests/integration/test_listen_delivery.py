"""`listen` and an event whose audio is being fetched, with a clock that the test sets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from receiver.cli.listen.delivery import AUDIO_SECONDS, Delivery
from receiver.cli.listen.lines import Counts
from receiver.cli.listen.remote import Remote
from receiver.cli.listen.stream import StreamEvent
from receiver.cli.listen.target import Target
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
ID = "evt_01a3185c5000700080000000000000aa"
EVENT = StreamEvent(ID, "aitts", "job.completed", "j-1", "open", NOW)
DETAIL: dict[str, Any] = {
    "id": ID, "source": "aitts", "type": "job.completed", "job_id": "j-1", "origin": "webhook", "state": "open",
    "received_at": "2027-01-15T08:00:00Z", "payload": {}, "artifacts": [],
}  # fmt: skip
FILE = {
    "n": 0, "address": "/a.wav", "bytes": 1, "sha256": "0", "content_type": "audio/wav", "format": "wav",
    "duration_seconds": None, "sample_rate": None, "channels": None,
}  # fmt: skip
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"


class SetClock:
    """A clock that only waits move."""

    def __init__(self, now: float) -> None:
        self.at = now

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


class Both:
    """A receiver that has an event, and the application that gets it."""

    def __init__(self, details: list[dict[str, Any]]) -> None:
        self._details = details
        self.requests = 0
        self.received: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b""
        if head.startswith(b"POST"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            self.received.append(json.loads(await reader.readexactly(int(length.partition(b":")[2]))))
        else:
            self.requests += 1
            body = json.dumps(self._details.pop(0) if len(self._details) > 1 else self._details[0]).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def delivery(both: Both, clock: SetClock) -> AsyncIterator[Delivery]:
    server = await asyncio.start_server(both.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    remote, target = Remote(url, None), Target(url, [SECRET], clock)
    async with server, asyncio.timeout(PATIENCE):
        yield Delivery(remote, target, (), Counts(), clock=clock, rng=Random(1))
        await remote.aclose()
        await target.aclose()


async def test_an_event_waits_for_its_audio() -> None:
    both = Both([DETAIL, DETAIL, DETAIL | {"artifacts": [FILE]}])
    async with delivery(both, SetClock(NOW)) as hands_over:
        line = await hands_over.deliver(EVENT)
    assert line is not None
    assert line.endswith("200 in 0 ms")
    (document,) = both.received
    assert document["data"]["audio"][0]["link"].endswith(f"/v1/events/{ID}/audio?n=0")


async def test_it_waits_for_so_long_and_then_says_that_it_has_none() -> None:
    both, clock = Both([DETAIL]), SetClock(NOW)
    async with delivery(both, clock) as hands_over:
        line = await hands_over.deliver(EVENT)
    assert line is not None
    assert line.endswith("audio not fetched")
    assert AUDIO_SECONDS <= clock.at - NOW < AUDIO_SECONDS + 1
    assert both.received[0]["data"]["audio"] == []


async def test_the_age_of_an_event_is_by_the_receivers_clock() -> None:
    """This machine's clock is an hour ahead: that is not the event's age."""
    both = Both([DETAIL, DETAIL | {"artifacts": [FILE]}])
    async with delivery(both, SetClock(NOW + 3600)) as hands_over:
        hands_over.clock_difference = -3600.0
        await hands_over.deliver(EVENT)
    assert len(both.received[0]["data"]["audio"]) == 1


async def test_an_old_event_without_audio_does_not_wait() -> None:
    both = Both([DETAIL])
    async with delivery(both, SetClock(NOW + 3600)) as hands_over:
        await hands_over.deliver(EVENT)
    assert both.requests == 1


async def test_an_event_whose_handlers_have_ended_does_not_wait() -> None:
    both = Both([DETAIL | {"state": "done"}])
    async with delivery(both, SetClock(NOW)) as hands_over:
        line = await hands_over.deliver(EVENT)
    assert both.requests == 1
    assert line is not None
    assert "not fetched" not in line
