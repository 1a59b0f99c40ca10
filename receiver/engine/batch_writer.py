"""Changes many rows in small batches, so that deliveries are not delayed.

A module of its own, because pruning and an operator's commands both use it. The list readers find the rows. Each
transaction takes a few milliseconds. Before the next one there is a pause that is several times as long, and longer
while deliveries wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.errors import ListingBusy
from receiver.store.database import Database

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item of a batch

MIN_BATCH, MAX_BATCH = 20, 100
"""Items of one transaction."""
BATCH_SECONDS = 0.005
"""How long the statements of one batch may take if nothing interrupts them, while all other writes wait for them."""
BESIDE_SECONDS = 0.05
"""The same in a transaction beside those of other writes, which wait only for the rows that it has locked. The answers
of a server to its statements take most of it, however small a batch is."""
RECENT_BATCHES = 4
"""The fastest of so many batches says how long the statements take. The others waited as well: for a processor, for the
interpreter's lock, for rows that another transaction had locked. Such waits do not grow with the batch."""
PAUSE_FACTOR = 4
"""The pause after a step, as a multiple of the step's duration."""
MAX_PAUSE_SECONDS = 1.0
MAX_PAUSES = 2
"""Pauses in a row while deliveries wait. In a busy receiver some always do, and the steps take longer, and with them
each pause."""
MAX_READ_ATTEMPTS = 12
"""How often a read is attempted while other lists are being read; each attempt waits some seconds."""


class BatchWriter:
    """Reads and writes in small steps, with pauses between them. Where two transactions can be committed at one time,
    its own are beside those of other writes.

    A cancelled write finishes and reports its batch first. Every batch is a transaction, so a cancellation or a kill
    loses nothing.

    Args:
        pause_factor: returns the pause after a step, as a multiple of the step's duration; called after each step.
        record: called in each transaction with what its function returned.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        pause_factor: Callable[[], float] = lambda: PAUSE_FACTOR,
        record: Callable[[Connection, Any], None] = lambda connection, result: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._pause_factor = pause_factor
        self._record = record
        self._size = MIN_BATCH
        self._batch_seconds = BESIDE_SECONDS if database.has_second_writer else BATCH_SECONDS
        self._pause_seconds: float | None = None
        self._item_seconds: deque[float] = deque(maxlen=RECENT_BATCHES)

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """Call `function(connection, *args)` with a snapshot, on a list reader.

        Raises:
            ListingTimeout: it took too long, or other lists occupied the readers all the time.
            StoreUnavailable: the store cannot be read.
        """
        await self._pause()
        begun = self._clock.monotonic()
        found = await self._read(function, *args)
        self._ended(begun)
        return found

    async def write(
        self, function: Callable[[Connection, Sequence[I]], T], items: Sequence[I], committed: Callable[[T], None]
    ) -> None:
        """Call `function(connection, batch)` for batches of the items: each in a transaction, with a pause before it.

        The size of a batch follows what `function` takes in the writer's thread. The wait in the writer's queue and the
        commit are not in it. They are in the pause, which follows the whole.

        Args:
            committed: called with what `function` returned, once that is committed.

        Raises:
            StoreUnavailable: the store did not commit. Earlier batches stay committed.
        """
        while items:
            batch, items = items[: self._size], items[self._size :]
            await self._pause()
            begun = self._clock.monotonic()
            await self._write(function, batch, committed)
            self._ended(begun)

    async def _read(self, function: Callable[..., T], *args: Any) -> T:
        for _ in range(MAX_READ_ATTEMPTS - 1):
            with suppress(ListingBusy):
                return await self._database.read_list(function, *args)
        return await self._database.read_list(function, *args)

    async def _write(
        self, function: Callable[[Connection, Sequence[I]], T], batch: Sequence[I], committed: Callable[[T], None]
    ) -> None:
        def timed(connection: Connection) -> tuple[T, float]:
            begun = self._clock.monotonic()
            result = function(connection, batch)
            self._record(connection, result)
            return result, self._clock.monotonic() - begun

        writing = asyncio.ensure_future(self._database.write(timed, beside=True))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])  # short: it is in the writer's queue
            if not writing.cancelled() and writing.exception() is None:
                committed(writing.result()[0])
            raise
        outcome, seconds = writing.result()
        if len(batch) == self._size:
            self._item_seconds.append(seconds / len(batch))
            self._size = next_size(self._size, min(self._item_seconds), self._batch_seconds)
        committed(outcome)

    def _ended(self, begun: float) -> None:
        """A step has ended that began then: the next one begins after a pause in proportion to it."""
        took = self._clock.monotonic() - begun
        self._pause_seconds = min(MAX_PAUSE_SECONDS, self._pause_factor() * took)

    async def _pause(self) -> None:
        """Leave the store to other work, after a step."""
        if self._pause_seconds is None:
            return
        for _ in range(MAX_PAUSES):
            await self._clock.wait(asyncio.Event(), self._pause_seconds)
            if not self._database.waiting:
                return


def next_size(size: int, item_seconds: float, batch_seconds: float = BATCH_SECONDS) -> int:
    """The size of the next batch, after one of `size`, if an item takes `item_seconds`.

    It is as many as fit into `batch_seconds`, but at most twice as many as before.
    """
    fits = int(min(2 * size, batch_seconds / item_seconds)) if item_seconds > 0 else 2 * size
    return min(MAX_BATCH, max(MIN_BATCH, fits))
