"""The log of what a test starts, a signal that each of its lines raises, a gate, a peer, and an object store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from receiver.outbound.storage import open_storage
from receiver.outbound.storage_types import Storage
from tests.integration.engine_support import Gate, Signal, telling
from tests.integration.intake_support import Lines, logged
from tests.integration.outbound_support import Peer, peering
from tests.integration.s3_support import Bucket, serving_bucket


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


@pytest.fixture
async def signal(lines: Lines) -> AsyncIterator[Signal]:
    """Raised with every line of the log."""
    signal = Signal()
    with telling(lines, signal):
        yield signal


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """Opened at the end: no thread is left behind."""
    gate = Gate(Signal())
    yield gate
    gate.open()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with peering() as peer:
        yield peer


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving_bucket() as made:
        yield made


@pytest.fixture
def storage(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Storage:
    """The audio storage `s3://bucket/speech`, in the bucket."""
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return open_storage("s3://bucket/speech", tmp_path)
