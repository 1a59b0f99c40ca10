"""Changes many rows a little at a time, so that deliveries do not notice.

Apart from what is changed, because pruning and an operator's commands do the same: what is to be changed is looked for
by the readers of lists; a transaction takes a few milliseconds of the writer's time; a pause follows that is several
times as long, and longer while deliveries wait. What the transactions leave in the store's log is brought into its file
here, on a reader's thread, or the delivery whose commit makes the log long would wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.errors import ListingBusy
from receiver.store.database import Database
from receiver.store.engines import checkpoint

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item of a batch

MIN_BATCH, MAX_BATCH = 20, 100
"""Items of one transaction."""
BATCH_SECONDS = 0.005
"""What a transaction may take of the writer's time."""
PAUSES = 4
"""How many times as long as a step took is paused after it."""
MAX_PAUSE_SECONDS = 1.0
PATIENCE = 8
"""Pauses in a row, while deliveries wait; then it goes on all the same, or a busy receiver would never end."""
BATCHES_A_CHECKPOINT = 4
TRIES = 12
"""How often a turn among those who read lists is asked for; it is waited for some seconds each time."""


class PacedWriter:
    """Reads and writes in small steps, with pauses.

    A write that is cancelled finishes its batch first, which is reported; nothing is lost by that, nor by a kill: every
    batch is a transaction.

    Args:
        pauses: how many times as long as a step took is paused after it, asked each time.
    """

    def __init__(self, database: Database, clock: Clock, pauses: Callable[[], float] = lambda: PAUSES) -> None:
        self._database = database
        self._clock = clock
        self._pauses = pauses
        self._size = MIN_BATCH
        self._batches = 0

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """`function(connection, *args)` against a snapshot, as a list is read; then a pause.

        Raises:
            ListingTimeout: it took too long, or others read lists all the while.
            StoreUnavailable: the store cannot be read.
        """
        begun = self._clock.monotonic()
        found = await self._read(function, *args)
        await self._pause(begun)
        return found

    async def write(
        self, function: Callable[[Connection, Sequence[I]], T], items: Sequence[I], committed: Callable[[T], None]
    ) -> None:
        """`function(connection, some items)` until all items are done; each time a transaction, and a pause after it.

        Args:
            committed: called with what `function` returned, once that is committed.

        Raises:
            StoreUnavailable: the store did not commit. What was committed until then stays so.
        """
        while items:
            batch, items = items[: self._size], items[self._size :]
            begun = self._clock.monotonic()
            await self._write(function, batch, committed)
            await self._pause(begun)

    async def _read(self, function: Callable[..., T], *args: Any) -> T:
        for _ in range(TRIES - 1):
            with suppress(ListingBusy):
                return await self._database.read_list(function, *args)
        return await self._database.read_list(function, *args)

    async def _write(
        self, function: Callable[[Connection, Sequence[I]], T], batch: Sequence[I], committed: Callable[[T], None]
    ) -> None:
        def timed(connection: Connection) -> tuple[T, float]:
            begun = self._clock.monotonic()
            return function(connection, batch), self._clock.monotonic() - begun

        writing = asyncio.ensure_future(self._database.write(timed))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])  # a moment: it is in the writer's queue
            if not writing.cancelled() and writing.exception() is None:
                committed(writing.result()[0])
            raise
        outcome, seconds = writing.result()
        if len(batch) == self._size:
            self._size = next_size(self._size, seconds)
        committed(outcome)
        self._batches += 1
        if self._batches % BATCHES_A_CHECKPOINT == 0:
            await self._read(checkpoint)

    async def _pause(self, begun: float) -> None:
        """Leave the store to others, in proportion to what was taken since `begun`."""
        seconds = min(MAX_PAUSE_SECONDS, self._pauses() * (self._clock.monotonic() - begun))
        for _ in range(PATIENCE):
            await self._clock.wait(asyncio.Event(), seconds)
            if not self._database.waiting:
                return


def next_size(size: int, seconds: float) -> int:
    """How many items the next batch has, after one of `size` that took `seconds`: what fits into `BATCH_SECONDS`, but
    at most twice as many."""
    fits = 2 * size if seconds <= 0 else min(2 * size, int(size * BATCH_SECONDS / seconds))
    return min(MAX_BATCH, max(MIN_BATCH, fits))
