"""Two fetches of one file, cancelled fetches, full disks: what is left in the spool."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from receiver.errors import AudioDelayed, AudioError
from receiver.outbound.audio import AudioFetcher, FetchedAudio
from receiver.outbound.part import PartialDownload
from receiver.outbound.storage import open_storage
from receiver.providers.base import AudioRequest
from tests.clocks import CallbackClock, FixedRandom
from tests.integration.outbound_support import ReceivedRequest, Say, Server, make_wav, ranged, serving

pytestmark = pytest.mark.anyio

WAV = make_wav(20.0)


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


def fetcher_into(folder: Path) -> AudioFetcher:
    return AudioFetcher(
        open_storage(str(folder), Path("/")),
        folder / ".spool",
        1 << 30,
        clock=CallbackClock(sleep=no_sleep),
        rng=FixedRandom(0.5),
    )


async def fetch(folder: Path, server: Server) -> FetchedAudio:
    fetcher = fetcher_into(folder)
    try:
        return await fetcher.fetch(
            [AudioRequest(server.url("/a"), {}, durable=True)], source="aitts", job_id="j", allow_private=True
        )
    finally:
        await fetcher.aclose()


def open_files(folder: Path) -> list[str]:
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return [link for link in links if link.startswith(str(folder))]


async def until_there_is_a_part_of(folder: Path, size: int) -> None:
    while True:
        parts = list((folder / ".spool").glob("*.part"))
        if parts and parts[0].stat().st_size >= size:
            return
        await asyncio.sleep(0)


async def test_a_second_fetch_of_the_same_file_is_told_to_wait(tmp_path: Path) -> None:
    release = asyncio.Event()
    async with serving(lambda request: Say(200, {}, WAV, hang=release)) as server:
        server.behave = lambda request: dataclasses.replace(ranged(WAV, request), cut=600_000, hang=release)
        first = asyncio.create_task(fetch(tmp_path, server))
        await server.sent.wait()
        with pytest.raises(AudioDelayed) as caught:
            await fetch(tmp_path, server)
        assert (caught.value.reason, caught.value.after) == ("fetch_in_progress", 5.0)
        server.behave = lambda request: ranged(WAV, request)
        release.set()
        assert (await first).bytes == len(WAV)


async def test_a_cancelled_fetch_leaves_a_part_to_resume_and_no_open_file(tmp_path: Path) -> None:
    release = asyncio.Event()
    body = WAV * 3  # three megabytes, so that a piece is on the disk before the end
    async with serving() as server:
        server.behave = lambda request: dataclasses.replace(ranged(body, request), cut=2_500_000, hang=release)
        task = asyncio.create_task(fetch(tmp_path, server))
        await until_there_is_a_part_of(tmp_path, 1 << 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_files(tmp_path) == []
        release.set()
        server.requests.clear()
        server.behave = lambda request: ranged(body, request)
        got = await fetch(tmp_path, server)
        assert got.sha256 == hashlib.sha256(body).hexdigest()
        start = int(server.requests[0].headers["range"].removeprefix("bytes=").removesuffix("-"))
        assert start >= 1 << 20


async def test_a_fetch_can_be_cancelled_at_any_moment_and_still_ends_well(tmp_path: Path) -> None:
    async with serving() as server:
        server.behave = lambda request: ranged(WAV, request)
        for turns in range(0, 60, 3):
            task = asyncio.create_task(fetch(tmp_path, server))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert open_files(tmp_path) == []
        got = await fetch(tmp_path, server)
        assert got.path is not None
        assert got.path.read_bytes() == WAV
        assert list((tmp_path / ".spool").iterdir()) == []


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[]",
        "null",
        '{"have": 5}',
        '{"have": 99999999999, "validator": "\\"v1\\"", "total": 9, "origin": "", "published": {}}',
        '{"have": true, "validator": "\\"v1\\"", "total": 9, "origin": "", "published": {}}',
        '{"have": 5, "validator": "\\"v1\\"", "total": 9, "origin": "", "published": {"x": 1}}',
    ],
)
async def test_a_part_whose_note_makes_no_sense_is_begun_again(tmp_path: Path, note: str) -> None:
    async with serving() as server:
        server.behave = lambda request: dataclasses.replace(
            ranged(WAV, request), cut=0 if "range" in request.headers else 20_000
        )
        with pytest.raises(AudioError):
            await fetch(tmp_path, server)
        next((tmp_path / ".spool").glob("*.json")).write_text(note)
        server.requests.clear()
        server.behave = lambda request: ranged(WAV, request)
        assert (await fetch(tmp_path, server)).sha256 == hashlib.sha256(WAV).hexdigest()
        assert "range" not in server.requests[0].headers


async def test_bytes_after_the_last_note_are_not_trusted(tmp_path: Path) -> None:
    async with serving() as server:
        server.behave = lambda request: dataclasses.replace(
            ranged(WAV, request), cut=0 if "range" in request.headers else 20_000
        )
        with pytest.raises(AudioError):
            await fetch(tmp_path, server)
        with next((tmp_path / ".spool").glob("*.part")).open("ab") as file:
            file.write(bytes(5000))
        server.requests.clear()
        server.behave = lambda request: ranged(WAV, request)
        assert (await fetch(tmp_path, server)).sha256 == hashlib.sha256(WAV).hexdigest()
        assert server.requests[0].headers["range"] == "bytes=20000-"


async def test_bytes_of_another_origin_are_not_continued(tmp_path: Path) -> None:
    async with serving() as first, serving() as second:
        first.behave = lambda request: dataclasses.replace(
            ranged(WAV, request), cut=0 if "range" in request.headers else 20_000
        )
        with pytest.raises(AudioError):
            await fetch(tmp_path, first)
        second.behave = lambda request: ranged(WAV, request)
        assert (await fetch(tmp_path, second)).sha256 == hashlib.sha256(WAV).hexdigest()
        assert [one.headers.get("range") for one in second.requests] == ["bytes=20000-", None]


@pytest.mark.parametrize("etag", ['W/"weak"', ""])
async def test_without_a_strong_validator_the_whole_is_fetched_again(tmp_path: Path, etag: str) -> None:
    lengths = [20_000, 30_000]

    def behave(request: ReceivedRequest) -> Say:
        headers = {"ETag": etag} if etag else {}
        return Say(200, headers, WAV, cut=lengths.pop(0) if lengths else None)

    async with serving(behave) as server:
        server.behave = behave
        assert (await fetch(tmp_path, server)).sha256 == hashlib.sha256(WAV).hexdigest()
        assert not any("range" in one.headers for one in server.requests)


async def test_an_old_last_modified_will_do_for_a_resume(tmp_path: Path) -> None:
    def behave(request: ReceivedRequest) -> Say:
        dates = {"Last-Modified": "Mon, 12 Jan 2026 13:00:00 GMT", "Date": "Mon, 12 Jan 2026 14:00:00 GMT"}
        if len(server.requests) == 1:
            return Say(200, dates, WAV, cut=20_000)
        assert request.headers["if-range"] == dates["Last-Modified"]
        return Say(206, {**dates, "Content-Range": f"bytes 20000-{len(WAV) - 1}/{len(WAV)}"}, WAV[20_000:])

    async with serving() as server:
        server.behave = behave
        assert (await fetch(tmp_path, server)).sha256 == hashlib.sha256(WAV).hexdigest()


async def test_a_whole_part_that_could_not_be_put_in_place_is_not_fetched_again(tmp_path: Path) -> None:
    async with serving() as server:
        server.behave = lambda request: ranged(WAV, request)
        (tmp_path / "aitts").write_text("in the way")
        with pytest.raises(AudioError) as caught:
            await fetch(tmp_path, server)
        assert caught.value.reason == "storage_failed"
        note = json.loads(next((tmp_path / ".spool").glob("*.json")).read_text())
        assert note["have"] == note["total"] == len(WAV)
        (tmp_path / "aitts").unlink()
        assert (await fetch(tmp_path, server)).bytes == len(WAV)
        assert len(server.requests) == 1


async def test_a_full_disk_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    async with serving() as server:
        server.behave = lambda request: ranged(WAV, request)
        with pytest.raises(AudioError, match="No space left") as caught:
            await fetch(tmp_path, server)
        assert caught.value.reason == "storage_failed"
        assert open_files(tmp_path) == []


async def test_a_spool_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / ".spool").write_text("in the way")
    async with serving() as server:
        with pytest.raises(AudioError, match="spool") as caught:
            await fetch(tmp_path, server)
    assert caught.value.reason == "storage_failed"


async def test_parts_that_nobody_comes_back_for_are_swept_and_others_stay(tmp_path: Path) -> None:
    spool = tmp_path / ".spool"
    spool.mkdir()
    for name, age in (("old.part", 90_000), ("old.part.json", 90_000), ("held.part", 90_000), ("young.part", 10)):
        (spool / name).write_text("x")
        os.utime(spool / name, (1_000_000 - age, 1_000_000 - age))
    held = PartialDownload.open(spool / "held.part")
    os.utime(spool / "held.part", (0, 0))
    fetcher = AudioFetcher(
        open_storage(str(tmp_path), Path("/")),
        spool,
        1,
        clock=CallbackClock(now=lambda: 1_000_000.0),
        rng=FixedRandom(0.5),
    )
    assert await fetcher.sweep(older_than=86_400) == 1
    assert sorted(path.name for path in spool.iterdir()) == ["held.part", "young.part"]
    held.close()


async def test_a_spool_that_is_not_there_has_nothing_to_sweep(tmp_path: Path) -> None:
    assert await fetcher_into(tmp_path).sweep(older_than=0) == 0
