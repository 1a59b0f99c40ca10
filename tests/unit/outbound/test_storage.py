"""Storages: a local folder that is durable, and object stores."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from receiver.errors import AudioError, NotFound
from receiver.outbound.folder import LocalFolder
from receiver.outbound.storage import open_storage

pytestmark = pytest.mark.anyio


def part_of(folder: Path, data: bytes = b"audio" * 100) -> Path:
    part = folder / "x.part"
    part.write_bytes(data)
    return part


async def test_a_published_file_is_at_its_name_and_gone_from_the_spool(tmp_path: Path) -> None:
    storage = open_storage("audio", tmp_path)
    part = part_of(tmp_path)
    stored = await storage.publish(part, "aitts/j.wav", "audio/wav")
    assert stored.path == tmp_path / "audio" / "aitts" / "j.wav"
    assert stored.path.read_bytes() == b"audio" * 100
    assert not part.exists()
    assert await storage.size(stored.address) == 500


@pytest.mark.parametrize("url", ["memory://", "memory:///", "folder"])
async def test_a_stored_file_is_read_back_whole_or_in_part(tmp_path: Path, url: str) -> None:
    data = bytes(range(256)) * 10_000
    storage = open_storage(url, tmp_path)
    stored = await storage.publish(part_of(tmp_path, data), "aitts/j.wav", "audio/wav")

    async def read(start: int = 0, end: int | None = None) -> bytes:
        return b"".join([piece async for piece in storage.stream(stored.address, start, end)])

    assert await read() == data
    assert await read(5) == data[5:]
    assert await read(5, 9) == data[5:9]
    assert await read(2_559_990, 9_999_999) == data[2_559_990:]
    assert await read(7, 7) == b""
    assert await storage.size(stored.address) == len(data)


@pytest.mark.parametrize("url", ["memory://", "folder"])
async def test_what_is_not_there_is_not_found(tmp_path: Path, url: str) -> None:
    storage = open_storage(url, tmp_path)
    missing = "memory://aitts/none.wav" if url == "memory://" else str(tmp_path / "folder" / "none.wav")
    assert await storage.size(missing) is None
    with pytest.raises(NotFound):
        [piece async for piece in storage.stream(missing)]


@pytest.mark.parametrize("address", ["/etc/passwd", "{folder}/../secret", "{folder}", "s3://x/y", "", "relative"])
async def test_an_address_outside_the_folder_is_not_read(tmp_path: Path, address: str) -> None:
    (tmp_path / "secret").write_text("x")
    storage = LocalFolder(tmp_path / "folder")
    address = address.format(folder=tmp_path / "folder")
    with pytest.raises(NotFound):
        [piece async for piece in storage.stream(address)]
    with pytest.raises(NotFound):
        await storage.size(address)


async def test_a_spool_on_another_file_system_is_copied_over_whole(tmp_path: Path) -> None:
    if not Path("/dev/shm").is_dir() or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system to write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        part = part_of(Path(elsewhere))
        part.chmod(0o666)
        stored = await LocalFolder(tmp_path / "audio").publish(part, "aitts/j.wav", "audio/wav")
        assert not part.exists()
    assert stored.path is not None
    assert stored.path.read_bytes() == b"audio" * 100
    assert stored.path.stat().st_mode & 0o777 & ~0o640 == 0
    assert [path.name for path in stored.path.parent.iterdir()] == ["j.wav"]


async def test_a_large_object_goes_up_in_pieces(tmp_path: Path) -> None:
    data = os.urandom(12 << 20)
    storage = open_storage("memory://", tmp_path)
    stored = await storage.publish(part_of(tmp_path, data), "aitts/j.wav", "audio/wav")
    assert await storage.size(stored.address) == len(data)


async def test_a_storage_that_is_not_reachable_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ENDPOINT": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    storage = open_storage("s3://bucket/prefix", tmp_path)
    with pytest.raises(AudioError) as caught:
        await storage.publish(part_of(tmp_path), "aitts/j.wav", "audio/wav")
    assert caught.value.reason == "storage_failed"
    assert "s3://bucket/prefix" in (storage.writable() or "")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("ftp://x/y", "ftp"),
        ("https://x/y", "https"),
        ("file://host/x", "three slashes"),
        ("s3://key:secret@bucket/x", "credentials"),
        ("s3://bucket/x?sig=1", "query"),
        ("az://account", "cannot be used"),
    ],
)
def test_a_setting_that_names_no_storage_is_explained(tmp_path: Path, url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        open_storage(url, tmp_path)


def test_folders_are_found_from_the_base_or_absolutely(tmp_path: Path) -> None:
    assert open_storage("data/audio", tmp_path).folder == tmp_path / "data" / "audio"
    assert open_storage("/srv/audio", tmp_path).folder == Path("/srv/audio")
    assert open_storage("file:///srv/my%20audio", tmp_path).folder == Path("/srv/my audio")
    assert open_storage("memory://", tmp_path).folder is None


def test_a_storage_says_whether_it_can_be_written_to(tmp_path: Path) -> None:
    assert open_storage("audio", tmp_path).writable() is None
    assert open_storage("memory://", tmp_path).writable() is None
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in (open_storage("file/audio", tmp_path).writable() or "")
    assert list((tmp_path / "audio").iterdir()) == []


def test_a_local_folder_does_not_load_the_object_store_library() -> None:
    code = (
        "import sys, pathlib; from receiver.outbound.storage import open_storage; "
        "open_storage('x', pathlib.Path('/tmp')); sys.exit('obstore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
