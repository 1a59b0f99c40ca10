"""The database: one writer with group commit, and readers on other connections.

Separate from the SQL, because this is about threads and transactions, not about tables.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, exc

from receiver.clock import Clock
from receiver.errors import StoreMalformed, StoreUnavailable
from receiver.store.backend import Backend, Processes
from receiver.store.health import StoreHealth
from receiver.store.readers import LISTING_SECONDS, ListReaders, Readers
from receiver.store.writer import MAX_RETRIES, Writer

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item of a batch

BUSY_SECONDS = 5.0
"""How long a statement waits for another process's transaction before the store counts as locked."""


class Database:
    """One open store.

    Args:
        backend: the store. If it is in a folder, that must exist.
        listing_seconds: how long a list may take.
    """

    def __init__(self, backend: Backend, listing_seconds: float = LISTING_SECONDS) -> None:
        self._backend = backend
        self.health = StoreHealth(self._backend.location, self._backend.locked)
        self._writer_engine = self._backend.writer_engine(BUSY_SECONDS)
        self._writer = Writer(self._backend, self._writer_engine, BUSY_SECONDS, self.health)
        self._second_writer = self._make_second_writer()
        self._second_started = False
        reading = self._backend, BUSY_SECONDS
        self._readers = Readers(*reading, "store-read", self._writer.unavailable)
        self._lists = ListReaders(*reading, "store-list", self._writer.unavailable, listing_seconds)

    def _make_second_writer(self) -> Writer | None:
        """The one for writes beside others; None if the database commits one transaction at a time."""
        if self._backend.folder is not None:
            return None
        health = StoreHealth(self._backend.location, self._backend.locked)  # readiness is about the first one's
        return Writer(self._backend, self._writer_engine, BUSY_SECONDS, health)

    @property
    def has_second_writer(self) -> bool:
        """Whether `write` can commit two transactions at one time."""
        return self._second_writer is not None

    @property
    def waiting(self) -> int:
        """Writes passed to the writer and not yet committed. The intake refuses deliveries above a limit."""
        return self._writer.waiting

    @property
    def writing(self) -> bool:
        """Whether the writer thread is running: started, and neither closed nor failed."""
        return self._writer.running

    @property
    def location(self) -> str:
        """Names the store in messages; without secrets."""
        return self._backend.location

    @property
    def folder(self) -> Path | None:
        """The folder on whose disk the store is; None if a server has it."""
        return self._backend.folder

    def exists(self) -> bool:
        """Whether the store exists.

        Raises:
            StoreUnavailable: that cannot be determined.
        """
        return self._backend.exists()

    def create(self) -> None:
        """Create an empty store, for `migrate`.

        Raises:
            StoreUnavailable: it cannot be created.
        """
        self._backend.create()

    def processes(self, owner: str, clock: Clock, rng: random.Random) -> Processes:
        """The processes that share the store, of which this one is `owner` (`leases.new_owner`)."""
        return self._backend.processes(owner, clock, rng)

    def any_process_lives(self) -> bool:
        """Whether a running process shares the store; True if that cannot be determined. Blocks."""
        try:
            return bool(self.find_living())
        except OSError:
            return True

    def find_living(self) -> list[str]:
        """The owners of the running processes that share the store, for one that has not joined. Blocks.

        Raises:
            OSError: that cannot be determined.
        """
        return self._backend.find_living()

    def announce_commits(self) -> None:
        """Let each commit wake the receivers that share the store: for a command, which makes work due.

        Where processes do not tell each other what they changed, the receivers poll.
        """
        self._backend.announce_commits(self._writer_engine)

    def start(self) -> None:
        """Start the writer; the second one starts with its first write. Call `migrate` before, `close` at the end."""
        self._writer.start()

    def close(self) -> None:
        """Commit all waiting writes and close every connection."""
        self._writer.close()
        if self._second_writer is not None:
            self._second_writer.close()
        self._readers.close()
        self._lists.close()
        self._writer_engine.dispose()

    # synchronous use: the command line, migrations, tests

    def transact(self, function: Callable[..., T], *args: Any) -> T:
        """Run `function(connection, *args)` in a write transaction of its own, in this thread.

        `function` may run again, if another transaction made this one fail.

        Raises:
            StoreUnavailable: it did not commit.
        """
        for retries in range(MAX_RETRIES, -1, -1):
            try:
                with self._writer_engine.begin() as connection:
                    return function(connection, *args)
            except exc.DBAPIError as error:
                if retries and self._backend.is_retried(error):
                    continue
                if self._backend.is_outage(error):
                    raise self._writer.unavailable(error) from error
                raise
        raise AssertionError  # the last try returns or raises

    def transact_again(self, function: Callable[..., T], *args: Any) -> T:
        """`transact` of what recognises that it is stored: once more, if the answer to the commit may have been lost.

        Raises:
            StoreUnavailable: as `transact`.
        """
        try:
            return self.transact(function, *args)
        except StoreUnavailable as error:
            if not _may_be_stored(error):
                raise
            return self.transact(function, *args)

    def query(self, function: Callable[..., T], *args: Any) -> T:
        """Run `function(connection, *args)` on a snapshot, in this thread.

        Raises:
            StoreUnavailable: the store cannot be read.
        """
        return self._readers.query(function, *args)

    def query_list(self, function: Callable[..., T], *args: Any) -> T:
        """`query` for a list, a search or a count, with the time limit `LISTING_SECONDS`.

        Raises:
            ListingTimeout: it took longer.
            StoreUnavailable: the store cannot be read.
        """
        return self._lists.query(function, *args)

    def test_write(self) -> None:
        """Write something without changing anything, in this thread.

        Raises:
            StoreUnavailable: a delivery could not be stored.
        """
        self.transact(self._backend.probe)

    def durability_risks(self) -> list[str]:
        """Which settings let a power cut lose what was acknowledged, in this thread; see `Backend`.

        Raises:
            StoreUnavailable: the store cannot be read.
        """
        return self.query(self._backend.durability_risks)

    def find_damage(self) -> StoreMalformed | None:
        """Read the whole store, in this thread; the error for the first damage found, None if there is none.

        Raises:
            StoreUnavailable: the store cannot be read.
        """
        damage = self.query(self._backend.find_damage)
        return self._backend.malformed(damage) if damage else None

    def hold_schema(self, connection: Connection) -> None:
        """Let no other process change the schema until the end of this transaction, for `migrate`."""
        self._backend.hold_schema(connection)

    def create_tables(self, connection: Connection) -> bool:
        """Create the newest schema in an empty store, for `migrate`; False if its migrations have to create it."""
        return self._backend.create_tables(connection)

    # asynchronous use: the running receiver

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """`query` in a worker thread, for short queries that runs and jobs wait for. It never waits for a list.

        Only the engine uses it: the private listener's queries are all lists.
        """
        return await self._readers.read(function, *args)

    async def read_list(self, function: Callable[..., T], *args: Any) -> T:
        """`query_list` in a worker thread for lists, so that `read` does not wait for it.

        It is interrupted if its caller is cancelled.

        Raises:
            ListingBusy: other lists were being read for `LISTING_SECONDS`, and this one was not started.
            ListingTimeout: it took longer than `LISTING_SECONDS`.
            StoreUnavailable: the store cannot be read.
        """
        return await self._lists.read(function, *args)

    async def write(
        self,
        function: Callable[..., T],
        *args: Any,
        executing: Callable[[], None] | None = None,
        committing: Callable[[T], None] | None = None,
        abandoned: Callable[[T | BaseException], None] | None = None,
        beside: bool = False,
    ) -> T:
        """Run `function(connection, *args)` in the next shared transaction; return after its commit.

        `function` may run again, if another write made the shared transaction fail.

        Args:
            executing: called on the running loop when a server begins to execute the transaction's statements. A
                database in this process executes them with this process's processor time: it is not called.
            committing: called on the running loop with what `function` returned while the transaction is being
                committed, which is mostly waiting for the disk. Nothing is stored yet, and the commit may fail.
            abandoned: as for `batch_and_wait`.
            beside: in a transaction of its own beside that of all other writes, if the store `has_second_writer`.

        Raises:
            StoreUnavailable: it did not commit, or did so and the answer was lost with the connection.
        """

        def alone(connection: Connection, items: list[Any]) -> list[T]:
            return [function(connection, *args) for _ in items]

        writer = self._writer_beside() if beside else self._writer
        write = writer.batch(alone, None, executing=executing, committing=committing, abandoned=abandoned)
        return await _wait(write, abandoned)

    def _writer_beside(self) -> Writer:
        """The second writer, started by its first write, as few processes use it; without one the first.

        Also the first if the store must not be used any more: it refuses the write.
        """
        second = self._second_writer
        if second is None or self.health.unusable or not (self._second_started or self._writer.running):
            return self._writer
        if not self._second_started:
            self._second_started = True
            second.start()
        return second

    async def write_again(self, function: Callable[..., T], *args: Any) -> T:
        """`write` of what recognises that it is stored: once more, if the answer to the commit may have been lost.

        Raises:
            StoreUnavailable: as `write`.
        """
        try:
            return await self.write(function, *args)
        except StoreUnavailable as error:
            if not _may_be_stored(error):
                raise
            return await self.write(function, *args)

    async def batch_and_wait(
        self,
        function: Callable[[Connection, list[I]], Sequence[T]],
        item: I,
        abandoned: Callable[[T | BaseException], None],
    ) -> T:
        """Pass `item` to `function` as `batch` does; return its result after the commit.

        Args:
            abandoned: called on the running loop, if the caller is cancelled meanwhile, with the result after the
                commit, or with the error.

        Raises:
            StoreUnavailable: it did not commit.
        """
        return await _wait(self.batch(function, item, abandoned=abandoned), abandoned)

    def batch(
        self,
        function: Callable[[Connection, list[I]], Sequence[T]],
        item: I,
        loop: asyncio.AbstractEventLoop | None = None,
        abandoned: Callable[[T | BaseException], None] | None = None,
    ) -> asyncio.Future[T]:
        """Pass `item` to `function(connection, items)` together with all others that wait for the same function.

        `function` returns one result for each item, in order. The future is done after the commit.

        Args:
            loop: the running loop, if the caller has it: to get it costs a system call on Python 3.11.
            abandoned: called on the loop, if the future is cancelled meanwhile, with the result after the commit, or
                with the error.

        Raises (from the future):
            StoreUnavailable: it did not commit.
        """
        return self._writer.batch(function, item, loop, abandoned=abandoned)

    def probe(self) -> asyncio.Future[None]:
        """`Backend.probe` in the next transaction.

        Raises (from the future):
            StoreUnavailable: it did not commit.
        """
        return self.batch(self._probe, None)

    def _probe(self, connection: Connection, items: list[None]) -> list[None]:
        self._backend.probe(connection)
        return items


async def _wait(write: asyncio.Future[T], abandoned: Callable[[T | BaseException], None] | None) -> T:
    try:
        return await write
    except asyncio.CancelledError:
        if abandoned is not None and not write.cancelled():  # it was done already; else the writer calls it
            abandoned(write.exception() or write.result())
        raise


def _may_be_stored(error: StoreUnavailable) -> bool:
    """Whether the answer to the commit may have been lost; nothing is stored after an error with a known cause."""
    return type(error) is StoreUnavailable
