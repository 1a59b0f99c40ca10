"""Facts of fetched audio are right or missing; and a file made to use up time delays no other."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from receiver.clock import SystemClock
from receiver.outbound import verification
from receiver.outbound.audio import MAX_CONCURRENT_FACTS, AudioFetcher, FetchedAudio
from receiver.outbound.formats import Facts, Format, read_facts
from receiver.outbound.storage import open_storage
from receiver.outbound.threads import in_thread
from receiver.providers.base import AudioRequest
from tests.clocks import FixedRandom
from tests.cost import max_cpu_seconds
from tests.integration.outbound_support import Say, Server, make_wav, serving
from tests.patience import PATIENCE
from tests.unit.outbound.audio_files import FTYP, MP3_FRAME, adts, box, flac, id3, webm, xing

pytestmark = pytest.mark.anyio


class Bench:
    def __init__(self, folder: Path, server: Server) -> None:
        self.server = server
        self.fetcher = AudioFetcher(
            open_storage(str(folder), Path("/")),
            folder / ".spool",
            100 << 20,
            clock=SystemClock(),
            rng=FixedRandom(0.5),
        )

    async def fetch(self, body: bytes, job: str = "j1", source: str = "aitts") -> FetchedAudio:
        self.server.behave = lambda request: Say(200, body=body)
        request = AudioRequest(self.server.url("/a"), {}, durable=True)
        return await self.fetcher.fetch([request], source=source, job_id=job, allow_private=True)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with serving() as server:
        made = Bench(tmp_path / "audio", server)
        yield made
        await made.fetcher.aclose()


def wav_of_length(length: int) -> bytes:
    data = bytearray(make_wav(3.0))
    data[4:8] = data[40:44] = struct.pack("<I", length)
    return bytes(data)


@pytest.mark.parametrize(
    ("body", "format", "seconds"),
    [
        pytest.param(adts() * 71, "aac", 3.03, id="raw AAC"),
        pytest.param(id3() + adts() * 71, "aac", 3.03, id="AAC behind a tag"),
        pytest.param(id3(50_000) + adts() * 71, "aac", 3.03, id="AAC behind a long tag"),
        pytest.param(id3() + flac(32), "flac", 2.97, id="FLAC behind a tag"),
        pytest.param((xing(115) + MP3_FRAME * 115) * 3, "mp3", 9.01, id="three MP3s joined"),
        pytest.param(wav_of_length(0), "wav", 3.0, id="WAV of length 0"),
        pytest.param(wav_of_length(0xFFFF_FFFF), "wav", 3.0, id="WAV without a length"),
        pytest.param(webm(3, claimed=30), "webm", 3.0, id="WebM"),
    ],
)
async def test_fetched_audio_has_the_right_format_and_length(
    bench: Bench, body: bytes, format: str, seconds: float
) -> None:
    got = await bench.fetch(body)
    assert (got.format, got.duration) == (format, pytest.approx(seconds, abs=0.1))
    assert got.path is not None
    assert got.path.suffix == f".{format}"
    assert got.path.read_bytes() == body


@pytest.mark.parametrize(
    "body", [FTYP + box(b"free") * (4 << 20), id3() + b"\xff" * (33 << 20)], ids=["empty boxes", "no frames"]
)
async def test_a_hostile_file_is_stored_without_facts_and_costs_little(bench: Bench, body: bytes) -> None:
    with max_cpu_seconds(6.5):
        got = await bench.fetch(body)
    assert (got.bytes, got.duration) == (len(body), None)


async def test_the_event_loop_goes_on_while_a_hostile_file_is_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, turned = asyncio.get_running_loop(), threading.Event()

    def read(path: Path, format: Format) -> Facts:
        loop.call_soon_threadsafe(turned.set)
        assert turned.wait(PATIENCE), "the loop waits for this file"
        return read_facts(path, format)

    monkeypatch.setattr(verification, "read_facts", read)
    got = await bench.fetch(FTYP + box(b"free") * 1000)
    assert (got.duration, turned.is_set()) == (None, True)


async def test_hostile_files_leave_threads_for_the_bytes_of_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = threading.Semaphore(0), threading.Event()

    def read(path: Path, format: Format) -> Facts:
        begun.release()
        assert end.wait(PATIENCE)
        return read_facts(path, format)

    monkeypatch.setattr(verification, "read_facts", read)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(4) as pool:
        loop.set_default_executor(pool)
        body = FTYP + box(b"free") * 1000
        fetches = asyncio.gather(*(bench.fetch(body, job=f"j{n}") for n in range(6)))
        try:
            for _ in range(MAX_CONCURRENT_FACTS):
                assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE)
            async with asyncio.timeout(PATIENCE):
                await in_thread(int)
        finally:
            end.set()
        assert {got.duration for got in await fetches} == {None}


async def test_hostile_files_of_one_source_do_not_hold_up_the_files_of_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = threading.Semaphore(0), threading.Event()

    def read(path: Path, format: Format) -> Facts:
        if path.name.startswith("hostile-"):
            begun.release()
            end.wait(PATIENCE)
        return read_facts(path, format)

    monkeypatch.setattr(verification, "read_facts", read)
    wav = make_wav(1.0)
    fetches = [
        asyncio.create_task(bench.fetch(wav, job=f"j{n}", source="hostile")) for n in range(MAX_CONCURRENT_FACTS + 1)
    ]
    try:
        for _ in range(MAX_CONCURRENT_FACTS):
            await asyncio.to_thread(begun.acquire, timeout=PATIENCE)
        async with asyncio.timeout(PATIENCE):
            good = await bench.fetch(wav, source="good")
        assert good.duration == 1.0
        assert not any(fetch.done() for fetch in fetches)
    finally:
        end.set()
        await asyncio.gather(*fetches)
