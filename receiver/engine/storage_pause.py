"""Pauses fetching while the audio storage cannot be written: runs that need audio wait without using attempts.

Runs on the handlers' loop, like the fetches. A full disk or an object store that refuses access is no error of a
provider or a handler, and attempts by every run would not help. So the first failure pauses all fetches, and a test
file is written from time to time. Once that succeeds, one fetch is allowed. Once that has stored its file, the waiting
runs are made due, in growing batches, because little space may be free (docs/adr/0047).
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog

from receiver.clock import Clock
from receiver.engine.threads import working_for
from receiver.errors import AudioError, AudioPostponed, StorageFailed, StoragePaused, StoreUnavailable
from receiver.metrics import Metrics
from receiver.store import waiting_runs
from receiver.store.database import Database

T = TypeVar("T")

log = structlog.get_logger("receiver.audio")

FIRST_SECONDS = 2.0
MAX_SECONDS = 30.0
"""The first and the longest wait between two probes; each is twice the one before."""
WAIT_SECONDS = 3600.0
"""A waiting run is due after this time even if the pause has not ended."""
FIRST_BATCH = 32
"""Runs that are made due when the pause ends; then twice as many each second."""
BATCH_SECONDS = 1.0
STORE_RETRY_SECONDS = 5.0
"""When a run is retried whose fetch failed because the store was unavailable."""

_DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
"""Errors that pause without a test file, which is smaller than audio and might still fit."""


async def postpone_if_store_unavailable(work: Awaitable[T]) -> T:
    """Await a fetch; if the store is unavailable, the attempt does not count.

    Raises:
        AudioPostponed: instead of `StoreUnavailable`.
    """
    try:
        return await work
    except StoreUnavailable as error:
        raise AudioPostponed(str(error), after=STORE_RETRY_SECONDS, reason=error.reason) from error


class StoragePause:
    """Whether audio may be fetched now.

    Args:
        probe: writes a test file into the storage, and blocks; returns the problem, or None.
        loop: the event loop of the fetches.
        on_release: called on that loop after waiting runs were made due.
    """

    def __init__(
        self,
        database: Database,
        probe: Callable[[], str | None],
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        on_release: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._on_release = on_release
        self._probe = probe
        self._metrics = metrics
        self._loop = loop
        self._clock = clock
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seconds = FIRST_SECONDS
        self._trials = self._allowed = 0
        self._more_waiting = False
        self._since = 0.0
        self.cause: str | None = None
        """Why fetching is paused; None if it is not."""

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Wrap a fetch: while fetching is paused, an allowed one ends the pause if it succeeds.

        Raises:
            StoragePaused: no fetch is allowed now.
        """
        if self.cause is None:
            yield
            return
        if self._trials >= self._allowed:
            raise self._paused(self.cause)
        self._trials += 1
        try:
            yield
            self._resume()
        finally:
            self._trials -= 1

    async def classify(self, error: StorageFailed) -> AudioError:
        """Return the error for the failed fetch. If the storage cannot be written, pause all fetches."""
        cause: str | None = str(error)
        if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in _DISK_FULL_ERRORS):
            cause = await self._probe_storage()
        if cause is None:
            return error
        self._pause(cause)
        return self._paused(cause)

    def wake(self) -> None:
        """Look for waiting runs in the store: those of an earlier process, or one that was stored just now.

        For any thread.
        """
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._more_waiting = True
        self._start_recovery()

    def _paused(self, cause: str) -> StoragePaused:
        return StoragePaused(f"Fetching audio is paused. {cause}", after=WAIT_SECONDS)

    def _pause(self, cause: str) -> None:
        if self.cause is None:
            self._since = self._clock.monotonic()
            log.error("audio.storage_paused", detail=cause)
            self._metrics.audio_paused.set(1)
        elif not self._allowed:  # a fetch that was in progress when the pause began
            return
        if self._task is not None:  # still recovering from the last pause
            self._wait_longer()
        self.cause = cause
        self._allowed = 0
        self._changed.set()
        self._start_recovery()

    def _wait_longer(self) -> None:
        self._seconds = min(MAX_SECONDS, 2 * self._seconds)

    def _resume(self) -> None:
        if self.cause is not None:
            log.info("audio.storage_resumed", seconds=round(self._clock.monotonic() - self._since, 1))
            self._metrics.audio_paused.set(0)
            self.cause = None
            self._changed.set()

    # in the background during a pause

    def _start_recovery(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._recover())
            self._task.add_done_callback(self._recovery_done)

    def _recovery_done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("audio.pause_broken", exc_info=error)
            self._resume()  # no other code would end the pause

    async def _recover(self) -> None:
        while True:
            while self.cause is not None:
                await self._probe_or_allow()
            if await self._release_all():
                self._seconds = FIRST_SECONDS
                return

    async def _probe_or_allow(self) -> None:
        self._changed.clear()
        await self._clock.wait(self._changed, FIRST_SECONDS if self._allowed else self._seconds)
        if self._changed.is_set():
            return
        if not self._allowed and (problem := await self._probe_storage()) is not None:
            self._wait_longer()
            self.cause = problem
            return
        self._allowed += 1  # one more each time: a fetch that hangs must not prevent others
        released = await self._release(self._allowed - self._trials)
        if not released and not self._trials:  # no run waits
            self._resume()

    async def _release_all(self) -> bool:
        """Make the waiting runs due, more each second; return False if fetching is paused again."""
        batch = FIRST_BATCH
        while self.cause is None:
            self._more_waiting = False
            released = await self._release(batch)
            if released < batch and not self._more_waiting:
                return True
            batch *= 2
            self._changed.clear()
            await self._clock.wait(self._changed, BATCH_SECONDS)
        return False

    async def _release(self, limit: int) -> int:
        try:
            released = await self._database.write(waiting_runs.release, limit, self._clock.now())
        except StoreUnavailable as error:
            log.error("audio.runs_not_released", detail=str(error))
            return limit
        if released:
            self._on_release()
        return released

    async def _probe_storage(self) -> str | None:
        async def in_thread() -> str | None:
            working_for.set("the audio storage")  # a storage that does not respond must not delay the shutdown
            return await asyncio.to_thread(self._probe)

        return await asyncio.create_task(in_thread())
