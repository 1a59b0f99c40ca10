"""Deletes what is old, a little at a time, so that deliveries do not notice.

Apart from the hourly maintenance because the command line does the same. Everything here yields: what is old is looked
for by the readers of listings; a deletion takes a few milliseconds of the writer's time; a pause follows that is
several times as long, and longer while deliveries wait. What the deletions leave in the store's log is brought into its
file here, on a reader's thread, or the delivery whose commit makes the log long would wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection

from receiver.engine.clock import Clock
from receiver.errors import ListingBusy
from receiver.store.database import Database
from receiver.store.engines import checkpoint
from receiver.store.prune import EVENTS, JOBS, Prunable
from receiver.store.quarantine import QUARANTINE

T = TypeVar("T")

PAGE = 1000
"""Rows that are looked at in one go."""
MIN_BATCH, MAX_BATCH = 20, 100
"""Rows of one deletion."""
BATCH_SECONDS = 0.005
"""What a deletion may take of the writer's time."""
PAUSES = 4
"""How many times as long as a step took is paused after it."""
MAX_PAUSE_SECONDS = 1.0
PATIENCE = 8
"""Pauses in a row, while deliveries wait; then it goes on all the same, or a busy receiver would never delete."""
BATCHES_A_CHECKPOINT = 4
TRIES = 12
"""How often a turn among those who read lists is asked for; it is waited for some seconds each time."""


class Pruner:
    """Deletes rows of any kind that are old.

    A cancelled deletion is finished first and counted; nothing is lost by that, nor by a kill: every batch is a
    transaction, and the next time starts over with what is left.

    Args:
        progress: called with `deleted` after each batch that deleted something.
        pauses: how many times as long as a step took is paused after it, asked each time.

    Attributes:
        deleted: how many of each kind, so far.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        progress: Callable[[Mapping[str, int]], None],
        pauses: Callable[[], float] = lambda: PAUSES,
    ) -> None:
        self.deleted = {rows.kind: 0 for rows in (EVENTS, JOBS, QUARANTINE)}
        self._database = database
        self._clock = clock
        self._progress = progress
        self._pauses = pauses
        self._size = MIN_BATCH
        self._batches = 0

    async def prune(self, rows: Prunable, before: float) -> int:
        """Delete all of a kind that is older than `before` (unix seconds); how many.

        Raises:
            ListingTimeout: looking for them took too long, or others read lists all the while.
            StoreUnavailable: the store did not commit. What was deleted until then stays deleted.
        """
        after = None
        while True:
            begun = self._clock.monotonic()
            found, after = await self._read(rows.find, before, after, PAGE)
            await self._pause(begun)
            while found:
                batch, found = found[: self._size], found[self._size :]
                begun = self._clock.monotonic()
                await self._delete(rows, before, batch)
                await self._pause(begun)
            if after is None:
                return self.deleted[rows.kind]

    async def _read(self, function: Callable[..., T], *args: Any) -> T:
        for _ in range(TRIES - 1):
            with suppress(ListingBusy):
                return await self._database.read_list(function, *args)
        return await self._database.read_list(function, *args)

    async def _delete(self, rows: Prunable, before: float, ids: Sequence[str]) -> None:
        def delete(connection: Connection) -> tuple[int, float]:
            begun = self._clock.monotonic()
            return rows.delete(connection, before, ids), self._clock.monotonic() - begun

        deleting = asyncio.ensure_future(self._database.write(delete))
        try:
            await asyncio.shield(deleting)
        except asyncio.CancelledError:
            await asyncio.wait([deleting])  # a moment: it is in the writer's queue
            if not deleting.cancelled() and deleting.exception() is None:
                self._count(rows, *deleting.result(), len(ids))
            raise
        self._count(rows, *deleting.result(), len(ids))
        self._batches += 1
        if self._batches % BATCHES_A_CHECKPOINT == 0:
            await self._read(checkpoint)

    def _count(self, rows: Prunable, deleted: int, seconds: float, tried: int) -> None:
        if tried == self._size:
            self._size = next_size(self._size, seconds)
        if deleted:
            self.deleted[rows.kind] += deleted
            self._progress(self.deleted)

    async def _pause(self, begun: float) -> None:
        """Leave the store to others, in proportion to what was taken since `begun`."""
        seconds = min(MAX_PAUSE_SECONDS, self._pauses() * (self._clock.monotonic() - begun))
        for _ in range(PATIENCE):
            await self._clock.wait(asyncio.Event(), seconds)
            if not self._database.waiting:
                return


def next_size(size: int, seconds: float) -> int:
    """How many rows the next batch has, after one of `size` that took `seconds`: what fits into `BATCH_SECONDS`, but at
    most twice as many."""
    fits = 2 * size if seconds <= 0 else min(2 * size, int(size * BATCH_SECONDS / seconds))
    return min(MAX_BATCH, max(MIN_BATCH, fits))
