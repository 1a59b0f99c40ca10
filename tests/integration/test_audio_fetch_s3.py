"""Audio put into an S3 store, played on loopback: what goes over the wire, and what is checked afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from receiver.errors import AudioError
from receiver.outbound.storage_types import Storage
from tests.integration.s3_support import Bucket

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size", [1, 5 << 20, (11 << 20) + 3])
async def test_a_file_arrives_whole_and_with_its_type(
    bucket: Bucket, storage: Storage, tmp_path: Path, size: int
) -> None:
    data = os.urandom(size)
    part = tmp_path / "x.part"
    part.write_bytes(data)
    stored = await storage.publish(part, "aitts/j~1.wav", "audio/wav")
    assert stored.address == "s3://bucket/speech/aitts/j~1.wav"
    (key,) = bucket.objects
    assert bucket.objects[key] == data
    assert bucket.types[key] == "audio/wav"
    assert key.startswith("/bucket/speech/aitts/j")
    assert len(bucket.parts) == (0 if size <= 5 << 20 else 3)
    assert b"".join([piece async for piece in storage.stream(stored.address)]) == data
    assert await storage.size(stored.address) == size


async def test_an_upload_that_lost_bytes_is_not_called_stored(bucket: Bucket, storage: Storage, tmp_path: Path) -> None:
    bucket.lost = 1
    part = tmp_path / "x.part"
    part.write_bytes(bytes(6 << 20))
    with pytest.raises(AudioError, match="6291455 bytes after an upload of 6291456") as caught:
        await storage.publish(part, "aitts/j.wav", "audio/wav")
    assert caught.value.reason == "storage_failed"
    assert part.exists()
