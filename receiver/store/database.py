"""The engine under the store: one writer with group commit, readers beside it.

Apart from the SQL because it is about threads and transactions, not about tables. Writes that arrive while a commit is
on its way gather and share the next transaction; nobody waits for a timer. A transaction costs one thread hop.

Every statement of a write runs in one step where it can: a thread that gives up the interpreter's lock between rows
waits for it again after each, behind an event loop that is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, exc

from receiver.errors import StoreLocked, StoreMalformed, StoreUnavailable
from receiver.store.engines import checkpoint, sqlite_engine, time_limit, wait_for_lock, write_page
from receiver.store.faults import is_outage, unavailable, unreachable
from receiver.store.health import LogRemoved, StoreFiles, StoreHealth

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item of a batch

log = structlog.get_logger("receiver.store")


MOST_ITEMS = 512
"""Items that share one transaction at the most: bounds how long a commit takes."""

BUSY_SECONDS = 5.0
"""How long a statement waits for another process's transaction before the store counts as locked."""

LOCKED_SECONDS = 1.0
"""How long it waits while the store is known to be locked, so that deliveries behind it are answered soon."""

LISTING_SECONDS = 5.0
"""How long a list, a search or a count may take."""


@dataclass(slots=True)
class _Write:
    """One thing to do in the next transaction, and where its outcome goes."""

    function: Callable[[Connection, list[Any]], Sequence[Any]]
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    outcome: Any = field(default=None)
    error: BaseException | None = field(default=None)


class Database:
    """One open store.

    Args:
        path: the SQLite file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.health = StoreHealth(path)
        self._files = StoreFiles(path)
        self._writer_engine = sqlite_engine(path, BUSY_SECONDS, writes=True)
        self._reader_engine = sqlite_engine(path, BUSY_SECONDS, writes=False)
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._lock_seconds = BUSY_SECONDS
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-read")
        self._browsers = ThreadPoolExecutor(2, thread_name_prefix="store-list")
        self._committing = 0
        self._ended = False

    @property
    def waiting(self) -> int:
        """Writes handed in and not yet committed. The intake refuses deliveries above a bound."""
        return self._queue.qsize() + self._committing

    @property
    def writing(self) -> bool:
        """Whether the writer's thread runs: started, neither closed nor broken."""
        return self._thread is not None and self._thread.is_alive()

    def exists(self) -> bool:
        """Whether the file is there.

        Raises:
            StoreUnavailable: its folder cannot be looked into.
        """
        try:
            return self.path.exists()
        except OSError as error:
            raise unreachable(error, self.path) from error

    def start(self) -> None:
        """Start the writer. Call `migrate` before, `close` at the end."""
        self._files.opened()
        self._thread = threading.Thread(target=self._write_until_closed, name="store-write", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Commit what is waiting and close every connection."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        self._readers.shutdown()
        self._browsers.shutdown()
        self._writer_engine.dispose()
        self._reader_engine.dispose()

    # synchronous use: the command line, migrations, tests

    def transact(self, function: Callable[..., T], *args: Any) -> T:
        """Run `function(connection, *args)` in a write transaction of its own, in this thread.

        Raises:
            StoreUnavailable: it did not commit.
        """
        try:
            with self._writer_engine.begin() as connection:
                return function(connection, *args)
        except exc.DBAPIError as error:
            if is_outage(error):
                raise self._unavailable(error) from error
            raise

    def query(self, function: Callable[..., T], *args: Any) -> T:
        """Run `function(connection, *args)` against a snapshot, in this thread.

        Raises:
            StoreUnavailable: the store cannot be read.
        """
        try:
            with self._reader_engine.connect() as connection:
                return function(connection, *args)
        except exc.DBAPIError as error:
            raise self._unavailable(error) from error

    def query_list(self, function: Callable[..., T], *args: Any) -> T:
        """`query` for a list, a search or a count, which may take no longer than `LISTING_SECONDS`.

        Raises:
            ListingTimeout: it took longer.
            StoreUnavailable: the store cannot be read.
        """

        def limited(connection: Connection) -> T:
            with time_limit(connection, LISTING_SECONDS):
                return function(connection, *args)

        return self.query(limited)

    def _unavailable(self, error: exc.DBAPIError) -> StoreUnavailable:
        found = unavailable(error, self.path)
        if isinstance(found, StoreMalformed) and self._thread is not None:
            self.health.damaged(found)
        return found

    # asynchronous use: the running receiver

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """`query` in a worker thread. For work that runs are waiting for: short, and never behind a list."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: self.query(function, *args))

    async def read_list(self, function: Callable[..., T], *args: Any) -> T:
        """`query_list` in a worker thread of its own kind, so that nothing that `read` serves waits behind it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._browsers, lambda: self.query_list(function, *args))

    async def write(self, function: Callable[..., T], *args: Any) -> T:
        """Run `function(connection, *args)` in the next shared transaction; return after its commit.

        `function` may be run again if somebody else's write broke the shared transaction.

        Raises:
            StoreUnavailable: it did not commit.
        """

        def alone(connection: Connection, items: list[Any]) -> list[T]:
            return [function(connection, *args) for _ in items]

        result: T = await self.batch(alone, None)
        return result

    def batch(
        self,
        function: Callable[[Connection, list[I]], Sequence[T]],
        item: I,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Future[T]:
        """Hand `item` to `function(connection, items)` together with all others waiting for the same function.

        `function` returns one result an item, in order. The future is done after the commit.

        Args:
            loop: the running loop, where the caller knows it: asking for it costs a system call on Python 3.11.

        Raises (from the future):
            StoreUnavailable: it did not commit.
        """
        loop = loop or asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Write(function, item, loop, future))
        if self._ended:
            self._refuse_waiting()
        return future

    def probe(self) -> asyncio.Future[None]:
        """`write_page` in the next transaction.

        Raises (from the future):
            StoreUnavailable: it did not commit.
        """
        return self.batch(_probe, None)

    # the writer's thread

    def _write_until_closed(self) -> None:
        try:
            self._write_batches()
        finally:
            self._ended = True
            self._refuse_waiting()

    def _refuse_waiting(self) -> None:
        """Fail the writes that came after the writer's end."""
        writes = []
        with contextlib.suppress(queue.Empty):  # two threads may be here at once
            while True:
                if (write := self._queue.get_nowait()) is not None:
                    writes.append(write)
        self._fail(writes, StoreUnavailable("The store's writer has ended: nothing is stored. Restart the receiver."))
        self._report(writes)

    def _write_batches(self) -> None:
        get, get_nowait = self._queue.get, self._queue.get_nowait
        closing = False
        while not closing:
            first = get()
            if first is None:
                break
            writes = [first]
            try:
                while len(writes) < MOST_ITEMS:
                    write = get_nowait()
                    if write is None:
                        closing = True
                        break
                    writes.append(write)
            except queue.Empty:
                pass
            self._committing = len(writes)
            self._commit(writes)
            self._committing = 0
            self._report(writes)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, writes: list[_Write]) -> None:
        health = self.health
        try:
            if health.malformed is not None:
                raise health.malformed
            self._files.require_unchanged()
            self._transaction(writes)
            self._files.require_unchanged()  # they may have been moved meanwhile
        except StoreUnavailable as error:
            if isinstance(error, LogRemoved):
                self._save_log()
            self._fail(writes, error)
            health.failed(error)
        except exc.DBAPIError as error:
            if is_outage(error):
                found = self._unavailable(error)
                self._fail(writes, found)
                health.failed(found)
            else:
                self._commit_each(writes, error)
        except Exception as error:  # noqa: BLE001 - handed to the writer's caller
            self._commit_each(writes, error)
        else:
            health.committed()

    def _commit_each(self, writes: list[_Write], error: Exception) -> None:
        """One write broke the transaction they shared: give each its own, so that only that one fails."""
        if len(writes) == 1:
            self._fail(writes, error)
            return
        for write in writes:
            self._commit([write])

    def _transaction(self, writes: list[_Write]) -> None:
        groups: dict[Any, list[_Write]] = {}
        for write in writes:
            groups.setdefault(write.function, []).append(write)
        health = self.health
        health.waits()
        try:
            connection = self._patient_connection()
            with connection.begin():
                health.works()
                for function, group in groups.items():
                    results = function(connection, [write.item for write in group])
                    for write, outcome in zip(group, results, strict=True):
                        write.outcome = outcome
        except BaseException:
            if self._connection is not None:
                self._connection.close()
                self._connection = None  # a fresh one next time, whatever state this one is in
            raise
        finally:
            health.rests()

    def _patient_connection(self) -> Connection:
        """The writer's connection, which waits for a lock as long as it should."""
        locked = isinstance(self.health.error, StoreLocked)
        seconds = min(BUSY_SECONDS, LOCKED_SECONDS) if locked else BUSY_SECONDS
        if self._connection is None:
            self._connection = self._writer_engine.connect()
            self._lock_seconds = -1.0
        if seconds != self._lock_seconds:
            wait_for_lock(self._connection, seconds)
            self._lock_seconds = seconds
        return self._connection

    def _save_log(self) -> None:
        """Bring what was acknowledged from a `-wal` without a name into the store: it would end with this process."""
        try:
            checkpoint(self._patient_connection())
        except (exc.DBAPIError, sqlite3.Error) as error:
            log.error("store.log_not_saved", path=str(self.path), detail=str(error))

    def _fail(self, writes: list[_Write], error: BaseException) -> None:
        for write in writes:
            write.error = error

    def _report(self, writes: list[_Write]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
        for write in writes:
            by_loop.setdefault(write.loop, []).append(write)
        for loop, group in by_loop.items():
            try:
                loop.call_soon_threadsafe(self._settle, group)
            except RuntimeError:  # that loop is closed: nobody waits for these any more
                log.warning("store.nobody_waiting", writes=len(group))

    def _settle(self, writes: list[_Write]) -> None:
        for write in writes:
            if write.future.done():  # its request was cancelled; the write stands
                continue
            if write.error is not None:
                write.future.set_exception(write.error)
            else:
                write.future.set_result(write.outcome)


def _probe(connection: Connection, items: list[None]) -> list[None]:
    write_page(connection)
    return items
