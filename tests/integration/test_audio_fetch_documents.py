"""Files of tasks that are not audio, from a real server on loopback: what is stored, and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.errors import AudioError, AudioRefused
from receiver.outbound import documents, download
from receiver.outbound.audio import AudioFetcher, FetchedAudio
from receiver.outbound.storage import open_storage
from receiver.providers.base import AudioRequest
from tests.clocks import CallbackClock, FixedRandom
from tests.integration.outbound_support import Say, Server, make_wav, ranged, serving

pytestmark = pytest.mark.anyio

TRANSCRIPT = json.dumps({"words": [{"text": f"word {n}"} for n in range(2000)]}).encode()
JSON = {"Content-Type": "application/json"}


async def task() -> bool:
    return True


class Bench:
    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.fetcher = AudioFetcher(
            open_storage(str(folder), Path("/")),
            folder / ".spool",
            100 << 20,
            min_rate=1,
            clock=CallbackClock(sleep=self.sleep),
            rng=FixedRandom(0.5),
        )

    async def sleep(self, seconds: float) -> None:
        """No wait."""

    async def fetch(self, *, of_task: bool = True) -> FetchedAudio:
        request = AudioRequest(self.server.url("/a"), {}, durable=True)
        accepts = task if of_task else download.audio_only
        return await self.fetcher.fetch(
            [request], source="finevoice", job_id="j", allow_private=True, accepts_documents=accepts
        )

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with serving() as server:
        it = Bench(tmp_path, server)
        yield it
        await it.fetcher.aclose()


@pytest.mark.parametrize("label", ["identity", "gzip"])
async def test_a_document_of_a_task_is_stored_under_its_extension(bench: Bench, label: str) -> None:
    sent = gzip.compress(TRANSCRIPT) if label == "gzip" else TRANSCRIPT
    bench.server.behave = lambda request: Say(200, JSON | {"Content-Encoding": label}, sent)
    found = await bench.fetch()
    assert (found.format, found.content_type, found.duration) == ("json", "application/json", None)
    assert found.path is not None
    assert found.path.read_bytes() == TRANSCRIPT
    assert bench.files() == ["finevoice/j.json"]


async def test_the_same_document_of_a_speech_job_is_refused(bench: Bench) -> None:
    for headers, body in (
        (JSON, TRANSCRIPT),
        ({"Content-Type": "text/plain"}, b"Something went wrong.\n" * 10),
        ({"Content-Type": "text/html"}, b"<!doctype html><h1>Error</h1>" * 10),
    ):
        bench.server.behave = lambda request, headers=headers, body=body: Say(200, headers, body)
        with pytest.raises(AudioError) as caught:
            await bench.fetch(of_task=False)
        assert caught.value.reason == "not_audio"
    assert bench.files() == []


async def test_a_page_is_never_stored_as_a_document(bench: Bench) -> None:
    page = b"<!DOCTYPE html><html><body>AccessDenied</body></html>" * 3
    for kind in ("text/html", "text/plain", "application/json", "application/octet-stream"):
        bench.server.behave = lambda request, kind=kind: Say(200, {"Content-Type": kind}, page)
        with pytest.raises(AudioError) as caught:
            await bench.fetch()
        assert caught.value.reason == "not_audio"
    assert bench.files() == []


async def test_json_that_ends_too_early_is_refused_and_fetched_again(bench: Bench) -> None:
    bench.server.behave = lambda request: Say(200, JSON, TRANSCRIPT[:-9])
    with pytest.raises(AudioError, match="neither audio nor a document"):
        await bench.fetch()
    bench.server.behave = lambda request: Say(200, JSON, TRANSCRIPT)
    assert (await bench.fetch()).bytes == len(TRANSCRIPT)


async def test_an_interrupted_document_is_resumed_by_the_next_attempt(bench: Bench) -> None:
    bench.server.behave = lambda request: Say(200, JSON | {"ETag": '"v1"'}, TRANSCRIPT, cut=10_000)
    with pytest.raises(AudioError):
        await bench.fetch()
    bench.server.behave = lambda request: ranged(TRANSCRIPT, request, **JSON)
    assert (await bench.fetch()).format == "json"
    assert bench.server.requests[-1].headers["range"].startswith("bytes=")


async def test_a_document_that_is_too_large_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_DOCUMENT_BYTES", 5000)
    bench.server.behave = lambda request: Say(200, JSON, TRANSCRIPT)
    with pytest.raises(AudioRefused, match="5000 for a document"):
        await bench.fetch()
    assert documents.MAX_DOCUMENT_BYTES == 8 << 20
    assert bench.files() == []


async def test_audio_of_a_task_is_audio(bench: Bench) -> None:
    bench.server.behave = lambda request: Say(200, {"Content-Type": "text/plain"}, make_wav())
    assert (await bench.fetch()).format == "wav"
