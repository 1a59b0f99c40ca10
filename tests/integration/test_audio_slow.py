"""Slow downloads over real connections: cut off, resumed later, and never in every slot."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from handlers.save_audio import save_audio
from receiver.assembly.receiver import build_receiver
from receiver.clock import SystemClock
from receiver.errors import AudioDelayed, AudioError, AudioGone
from receiver.model.delivery import Delivery
from receiver.outbound.audio import AudioFetcher, FetchedAudio
from receiver.outbound.client import Client, Timeouts
from receiver.outbound.guard import AddressGuard
from receiver.outbound.rate import GRACE_SECONDS, WINDOW_SECONDS
from receiver.outbound.storage import open_storage
from receiver.providers.base import AudioRequest
from receiver.store import inbox
from tests.clocks import CallbackClock, FixedRandom
from tests.integration.engine_support import NOW, Signal, fresh_store, registry
from tests.integration.intake_support import Lines, configured
from tests.integration.outbound_support import ReceivedRequest, Say, Server, make_wav, ranged, serving
from tests.patience import PATIENCE
from tests.stores import open_store, query

pytestmark = pytest.mark.anyio

WAV = make_wav(20.0)


class Bench:
    """A server that sends piece by piece, and moves the fetcher's clock whenever a piece has been seen."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.time, self.slept = 0.0, list[float]()
        self.looked = asyncio.Event()
        self.fetcher = AudioFetcher(
            open_storage(str(folder), Path("/")),
            folder / ".spool",
            1 << 24,
            clock=CallbackClock(monotonic=self.clock, sleep=self.sleep),
            rng=FixedRandom(0.5),
        )

    def clock(self) -> float:
        self.looked.set()
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    async def drip(self, body: bytes, piece: int, seconds: float) -> AsyncIterator[bytes]:
        for at in range(0, len(body), piece):
            self.looked.clear()
            yield body[at : at + piece]
            await self.looked.wait()
            self.time += seconds

    def dripping(self, piece: int, seconds: float) -> Callable[[ReceivedRequest], Say]:
        def behave(request: ReceivedRequest) -> Say:
            say = ranged(WAV, request)
            say.drip = self.drip(say.body, piece, seconds)
            return say

        return behave

    async def fetch(self) -> FetchedAudio:
        request = AudioRequest(self.server.url("/a"), {}, durable=True)
        return await self.fetcher.fetch([request], source="aitts", job_id="j", allow_private=True)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with serving() as server:
        made = Bench(tmp_path / "audio", server)
        yield made
        await made.fetcher.aclose()


async def test_a_download_that_brings_too_little_is_cut_and_goes_on_later_where_it_was(bench: Bench) -> None:
    bench.server.behave = bench.dripping(5_000, 10.0)
    with pytest.raises(AudioDelayed, match="too slow") as caught:
        await bench.fetch()
    assert (caught.value.reason, caught.value.after, caught.value.counts) == ("download_too_slow", 60.0, True)
    assert WINDOW_SECONDS <= bench.time <= WINDOW_SECONDS + 20
    assert len(bench.server.requests) == 1
    bench.server.requests.clear()
    bench.server.behave = lambda request: ranged(WAV, request)
    assert (await bench.fetch()).sha256 == hashlib.sha256(WAV).hexdigest()
    start = int(bench.server.requests[0].headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 15_000 <= start <= 25_000


async def test_one_that_is_slow_but_steady_comes_to_its_end(bench: Bench) -> None:
    bench.server.behave = bench.dripping(50_000, 10.0)
    assert (await bench.fetch()).bytes == len(WAV)


async def test_one_that_keeps_the_least_rate_alone_is_cut_at_the_deadline_of_its_size(bench: Bench) -> None:
    bench.server.behave = bench.dripping(20_000, 10.0)
    with pytest.raises(AudioDelayed, match="incomplete after"):
        await bench.fetch()
    assert bench.time == pytest.approx(GRACE_SECONDS + len(WAV) / (16 * 1024), abs=30)


async def test_breaking_the_connection_now_and_then_does_not_make_it_quick(bench: Bench) -> None:
    def behave(request: ReceivedRequest) -> Say:
        bench.time += 12.0
        say = ranged(WAV, request)
        start = len(WAV) - len(say.body)
        return Say(say.status, say.headers, say.body, cut=max(0, 2_000 + 1_000 * len(bench.server.requests) - start))

    bench.server.behave = behave
    with pytest.raises(AudioDelayed) as caught:
        await bench.fetch()
    assert caught.value.reason == "download_too_slow"
    assert len(bench.server.requests) <= 4


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", AudioError),
        (b"HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\n{", AudioGone),
        (b"HTTP/1.1 302 X\r\nLocation: /b\r\nContent-Length: 9\r\n\r\n<", AudioError),
    ],
)
async def test_a_head_and_a_short_body_that_never_end_are_not_waited_for(
    tmp_path: Path, answer: bytes, error: type[AudioError]
) -> None:
    open_here, gone = set[asyncio.StreamWriter](), asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_here.add(writer)
        gone.clear()
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            while True:  # each piece is in time
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            open_here.discard(writer)
            if not open_here:
                gone.set()

    def connect(allow_private: bool) -> Client:
        return Client(AddressGuard(allow_private), timeouts=Timeouts(read=0.5, head=0.5))

    answer = answer.replace(b"Content-Length: 9", b"Content-Length: 9999")
    fetcher = AudioFetcher(
        open_storage(str(tmp_path), Path("/")),
        tmp_path / ".spool",
        1 << 20,
        clock=SystemClock(),
        make_client=connect,
        rng=FixedRandom(0.5),
    )
    listener = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(error):
                await fetcher.fetch(
                    [AudioRequest(f"http://127.0.0.1:{port}/a", {}, durable=True)],
                    source="aitts",
                    job_id="j",
                    allow_private=True,
                )
    finally:
        await fetcher.aclose()
        listener.close()
        await gone.wait()


# the slots


def delivered(source: str, n: int, server: Server) -> Delivery:
    payload = {"status": "completed", "audio_url": server.url(f"/{source}/{n}")}
    return Delivery(
        event_id=f"evt_{source}_{n}",
        source=source,
        type="job.completed",
        key=f"{source}-{n}",
        job_id=f"{source}-{n}",
        origin="poll",
        payload=json.dumps(payload),
        body=b"{}",
        headers="[]",
        key_id=None,
        skew=None,
        received_at=NOW + n,
        handlers=("save_audio",),
    )


async def test_a_source_whose_downloads_hang_does_not_keep_another_sources_audio_waiting(
    tmp_path: Path, signal: Signal, lines: Lines
) -> None:
    release = asyncio.Event()

    async def hang(request: ReceivedRequest) -> Say:
        if request.path.startswith("/slow/"):
            await release.wait()
        return ranged(WAV, request)

    async with serving(hang) as server:

        def source(name: str) -> dict[str, Any]:
            url = server.url(f"/{name}/api")
            return {"provider": "finevoice", "base_url": url, "api_key": "k" * 20, "allow_private_addresses": True}

        settings = configured(
            tmp_path,
            sources={name: source(name) for name in ("slow", "quick")},
            dispatch={"concurrency": 4, "grace_seconds": 0},
        )
        (tmp_path / "data").mkdir()
        database = open_store(fresh_store(tmp_path / "data" / "receiver.db"))
        database.transact(inbox.accept, [delivered("slow", n, server) for n in range(20)])
        database.transact(inbox.accept, [delivered("quick", n, server) for n in range(20, 23)])
        database.close()
        receiver = build_receiver(settings, registry(save_audio))
        try:
            async with receiver.public.router.lifespan_context(receiver.public):
                await signal.until(lambda: len(lines.of("run.succeeded")) == 3)
        finally:
            release.set()
    assert {line["source"] for line in lines.of("run.succeeded")} == {"quick"}
    assert len([request for request in server.requests if request.path.startswith("/slow/")]) == 3
    postponed = {line["event"] for line in lines.of("run.postponed")}
    assert all(event.startswith("evt_slow") for event in postponed)
    rows = query(database, "SELECT * FROM runs WHERE state = 'pending' AND event_id LIKE 'evt_slow%'")
    assert {row["attempt"] - row["forgiven"] for row in rows} == {0}
