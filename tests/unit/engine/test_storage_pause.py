"""The pause's own rules, with the clock in the test's hand: how often is tried, who is let through, what ends it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from receiver.engine import storage_pause
from receiver.engine.storage_pause import FIRST_SECONDS, MAX_SECONDS, StoragePause
from receiver.errors import AudioError, StorageFailed, StoragePaused
from receiver.metrics import Metrics
from receiver.store import schema
from tests.integration.engine_support import ManualClock, Signal, fresh_store
from tests.patience import PATIENCE
from tests.stores import insert_rows, open_store, query

pytestmark = pytest.mark.anyio

EVENT = {
    "source": "aitts", "type": "job.completed", "origin": "webhook", "status": "accepted", "payload": {}, "body": b"{}",
    "headers": [], "received_at": 1.0,
}  # fmt: skip
RUN = {"handler": "keep", "state": "pending", "due_at": 1e10, "waits_for": "audio_storage"}


async def until(predicate: Callable[[], object]) -> None:
    """Return once it is true; the store's thread tells nobody."""
    async with asyncio.timeout(PATIENCE):
        while not predicate():
            await asyncio.sleep(0.001)


class Up:
    """A pause over a real store, and the trial file's outcome."""

    def __init__(self, path: Path) -> None:
        self.signal = Signal()
        self.clock = ManualClock(self.signal)
        self.store = fresh_store(path)
        self.database = open_store(path)
        self.database.start()
        self.problem: str | None = None
        self.probes = 0
        self.metrics = Metrics()
        self.released: list[int] = []
        """How many runs still waited, each time when it was told that some no longer do."""
        self.pause = StoragePause(
            self.database,
            self._probe,
            self.metrics,
            asyncio.get_running_loop(),
            self.clock,
            on_release=lambda: self.released.append(self.waiting()),
        )

    def _probe(self) -> str | None:
        self.probes += 1
        return self.problem

    async def fetch(self, failure: int | None = None) -> AudioError | None:
        """A fetch, which fails with this error of the system."""
        try:
            with self.pause.attempt():
                if failure is not None:
                    raise StorageFailed("It is full.") from OSError(failure, "mine")
        except StorageFailed as error:
            return await self.pause.classify(error)
        except AudioError as error:
            return error
        return None

    async def tick(self, seconds: float) -> None:
        """Let the time pass for which the pause waits; return when it waits again, or has ended."""
        for _ in range(20):  # turns of the loop, however long they take: what has just been told is looked at
            await asyncio.sleep(0)
        await until(lambda: self.clock._waiting or self.pause._task is None)
        before = self.clock._waiting[:]
        self.clock.advance(seconds)
        await until(lambda: self.pause._task is None or (self.clock._waiting and self.clock._waiting != before))

    def add(self, runs: int) -> None:
        """Runs that wait."""
        ids = [f"evt_{number}" for number in range(runs)]
        insert_rows(self.store, schema.events, *(EVENT | {"id": id, "key": id} for id in ids))
        insert_rows(self.store, schema.runs, *(RUN | {"event_id": id} for id in ids))

    def waiting(self) -> int:
        return len(query(self.store, "SELECT 1 FROM runs WHERE waits_for IS NOT NULL"))


@asynccontextmanager
async def made(path: Path) -> AsyncIterator[Up]:
    up = Up(path)
    try:
        yield up
    finally:
        if up.pause._task is not None:
            up.pause._task.cancel()
        await asyncio.to_thread(up.database.close)


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    async with made(tmp_path / "receiver.db") as found:
        yield found


async def test_a_failure_while_the_storage_can_be_written_is_the_runs_own(up: Up) -> None:
    error = await up.fetch(errno.ENAMETOOLONG)
    assert isinstance(error, StorageFailed)
    assert up.pause.cause is None
    assert await up.fetch() is None


async def test_the_waits_between_trial_files_grow(up: Up) -> None:
    up.problem = "It is still full."
    assert isinstance(await up.fetch(errno.ENOSPC), StoragePaused)
    seconds = FIRST_SECONDS
    for tries in range(1, 8):
        assert isinstance(await up.fetch(), StoragePaused), "nothing is fetched"
        await up.tick(seconds)
        assert up.probes == tries
        seconds = min(MAX_SECONDS, 2 * seconds)
    assert up.pause.cause == "It is still full."


async def test_one_fetch_is_let_through_and_its_success_ends_the_pause_for_all(up: Up) -> None:
    up.add(100)
    await up.fetch(errno.ENOSPC)
    await up.tick(FIRST_SECONDS)
    assert up.waiting() == 99
    with up.pause.attempt():
        assert isinstance(await up.fetch(), StoragePaused), "one at a time"
    assert up.pause.cause is None
    await until(lambda: up.clock.seconds[storage_pause.BATCH_SECONDS] == 1)
    assert up.waiting() == 99 - storage_pause.FIRST_BATCH, "not all at once: the room may be small"
    await up.tick(storage_pause.BATCH_SECONDS)
    assert up.waiting() == 3
    await up.tick(storage_pause.BATCH_SECONDS)
    assert up.waiting() == 0
    assert up.released == [99, 99 - storage_pause.FIRST_BATCH, 3, 0]


async def test_a_disk_with_room_for_the_trial_file_alone_is_tried_ever_more_rarely(up: Up) -> None:
    up.add(100)
    await up.fetch(errno.ENOSPC)
    seconds = FIRST_SECONDS
    for tries in range(1, 7):
        await up.tick(seconds)
        assert up.waiting() == 100 - tries, "one run a try"
        for _ in range(2):
            assert isinstance(await up.fetch(errno.ENOSPC), StoragePaused)
        seconds = min(MAX_SECONDS, 2 * seconds)


async def test_a_pause_that_nobody_waits_for_ends_by_itself(up: Up) -> None:
    await up.fetch(errno.ENOSPC)
    await up.tick(FIRST_SECONDS)
    assert up.pause.cause is None
    assert await up.fetch() is None


async def test_a_fetch_that_hangs_does_not_keep_the_next_from_being_tried(up: Up) -> None:
    up.add(3)
    await up.fetch(errno.ENOSPC)
    await up.tick(FIRST_SECONDS)
    with up.pause.attempt():
        await up.tick(FIRST_SECONDS)
        assert await up.fetch() is None
    assert up.pause.cause is None
