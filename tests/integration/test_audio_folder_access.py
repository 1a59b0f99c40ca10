"""Nobody else gets at the audio, whatever the umask; and no link in the audio folder leads out of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from receiver.assembly.resources import open_database
from receiver.clock import SystemClock
from receiver.errors import AudioError, NotFound
from receiver.outbound.audio import AudioFetcher
from receiver.outbound.storage import open_storage
from receiver.providers.base import AudioRequest
from receiver.settings import Settings
from tests.clocks import FixedRandom
from tests.integration.outbound_support import Say, Server, make_wav, ranged, serving

pytestmark = pytest.mark.anyio

WAV = make_wav(30.0)


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(lambda request: ranged(WAV, request)) as made:
        yield made


@asynccontextmanager
async def fetching(folder: Path) -> AsyncIterator[AudioFetcher]:
    fetcher = AudioFetcher(
        open_storage(str(folder), Path("/")), folder / ".spool", 1 << 30, clock=SystemClock(), rng=FixedRandom(0.5)
    )
    yield fetcher
    await fetcher.aclose()


async def fetch(fetcher: AudioFetcher, server: Server) -> Path | None:
    request = AudioRequest(server.url("/a"), {}, durable=True)
    return (await fetcher.fetch([request], source="aitts", job_id="j1", allow_private=True)).path


def too_open(folder: Path) -> list[str]:
    """What in a folder others may read or write, or its group may write."""
    paths = [folder, *folder.rglob("*")]
    return [
        f"{path.name}: {path.stat().st_mode & 0o777:o}"
        for path in paths
        if path.stat().st_mode & 0o777 & ~(0o750 if path.is_dir() else 0o640)
    ]


async def test_folders_and_files_are_kept_from_others_whatever_the_umask(
    tmp_path: Path, server: Server, umask: int
) -> None:
    server.behave = lambda request: Say(200, {"ETag": '"v1"'}, WAV, cut=1_200_000, hang=asyncio.Event())
    async with fetching(tmp_path / "data" / "audio") as fetcher:
        fetch_cut = asyncio.create_task(fetch(fetcher, server))
        await server.sent.wait()
        spool = tmp_path / "data" / "audio" / ".spool"
        while not any(path.stat().st_size for path in spool.glob("*.part")):
            await asyncio.sleep(0)
        fetch_cut.cancel()
        await asyncio.gather(fetch_cut, return_exceptions=True)
        assert {path.suffix for path in spool.iterdir()} == {".part", ".json"}
        assert too_open(tmp_path / "data") == []
        server.behave = lambda request: ranged(WAV, request)
        path = await fetch(fetcher, server)
    assert path == tmp_path / "data" / "audio" / "aitts" / "j1.wav"
    assert path.read_bytes() == WAV
    assert too_open(tmp_path / "data") == []


def test_the_folders_of_the_store_are_kept_from_others_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    open_database(Settings.model_validate({"store": {"url": f"sqlite:///{tmp_path}/var/data/receiver.db"}}))
    assert (tmp_path / "var" / "data").is_dir()
    assert too_open(tmp_path / "var") == []


async def test_a_part_that_others_may_read_is_closed_to_them_before_it_is_published(tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    part.write_bytes(WAV)
    part.chmod(0o666)
    stored = await open_storage("audio", tmp_path).publish(part, "aitts/j.wav", "audio/wav")
    assert stored.path is not None
    assert stored.path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("linked", ["aitts", ".spool"])
async def test_a_linked_folder_is_refused(tmp_path: Path, server: Server, linked: str) -> None:
    audio, elsewhere = tmp_path / "audio", tmp_path / "elsewhere"
    audio.mkdir()
    elsewhere.mkdir()
    (audio / linked).symlink_to(elsewhere)
    async with fetching(audio) as fetcher:
        with pytest.raises(AudioError, match=f"{linked} is a symbolic link") as caught:
            await fetch(fetcher, server)
        assert caught.value.reason == "storage_failed"
        assert list(elsewhere.iterdir()) == []
    assert f"{linked} is a symbolic link" in (open_storage(str(audio), tmp_path).writable() or "")


async def test_a_linked_spool_is_not_swept(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.part").write_bytes(b"somebody's")
    (elsewhere / "y.part.json").write_bytes(b"somebody's")
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / ".spool").symlink_to(elsewhere)
    async with fetching(tmp_path / "audio") as fetcher:
        with pytest.raises(AudioError, match="symbolic link"):
            await fetcher.sweep(0)
    assert {path.name for path in elsewhere.iterdir()} == {"x.part", "y.part.json"}


async def test_a_link_in_the_place_of_a_part_or_a_file_leads_nowhere(tmp_path: Path, server: Server) -> None:
    audio, secret = tmp_path / "audio", tmp_path / "secret"
    secret.write_bytes(b"not audio")
    (audio / "aitts").mkdir(parents=True)
    (audio / "aitts" / "j1.wav").symlink_to(secret)
    storage = open_storage(str(audio), tmp_path)
    with pytest.raises(AudioError, match="symbolic link"):
        [piece async for piece in storage.stream(str(audio / "aitts" / "j1.wav"))]
    async with fetching(audio) as fetcher:
        path = await fetch(fetcher, server)
    assert path is not None
    assert not path.is_symlink()
    assert path.read_bytes() == WAV
    assert secret.read_bytes() == b"not audio"


async def test_nothing_is_read_through_a_linked_folder(tmp_path: Path) -> None:
    elsewhere, audio = tmp_path / "elsewhere", tmp_path / "audio"
    elsewhere.mkdir()
    audio.mkdir()
    (elsewhere / "j1.wav").write_bytes(b"somebody's")
    (audio / "aitts").symlink_to(elsewhere)
    storage = open_storage(str(audio), tmp_path)
    with pytest.raises((AudioError, NotFound)):
        [piece async for piece in storage.stream(str(audio / "aitts" / "j1.wav"))]
    with pytest.raises(AudioError, match="symbolic link"):
        await storage.size(str(audio / "aitts" / "j1.wav"))


async def test_the_audio_folder_itself_may_be_reached_through_a_link(tmp_path: Path, server: Server) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "audio").symlink_to(tmp_path / "disk")
    async with fetching(tmp_path / "audio") as fetcher:
        path = await fetch(fetcher, server)
    assert path == tmp_path / "audio" / "aitts" / "j1.wav"
    assert (tmp_path / "disk" / "aitts" / "j1.wav").read_bytes() == WAV
