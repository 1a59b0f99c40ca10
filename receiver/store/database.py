"""The engine under the store: one writer with group commit, readers beside it.

Apart from the SQL because it is about threads and transactions, not about tables. Writes that arrive while a commit is
on its way gather and share the next transaction; nobody waits for a timer. A transaction costs one thread hop.

Every statement of a write runs in one step where it can: a thread that gives up the interpreter's lock between rows
waits for it again after each, behind an event loop that is busy.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.pool import QueuePool

from receiver.errors import StoreUnavailable
from receiver.paths import setting_path

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item of a batch

log = structlog.get_logger("receiver.store")


MOST_ITEMS = 512
"""Items that share one transaction at the most: bounds how long a commit takes."""

BUSY_SECONDS = 5.0
"""How long a statement waits for another process's transaction before the store counts as unavailable."""


@dataclass(slots=True)
class _Write:
    """One thing to do in the next transaction, and where its outcome goes."""

    function: Callable[[Connection, list[Any]], Sequence[Any]]
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    outcome: Any = field(default=None)
    error: BaseException | None = field(default=None)


def sqlite_path(url: str, base: Path) -> Path | None:
    """The file behind a SQLite address, relative ones under `base`; None for another engine.

    Raises:
        ValueError: the address cannot be read, or names no file.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise ValueError("is not a database address such as sqlite:///data/receiver.db") from None
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise ValueError("names no file: what is only in memory is not durable")
    return setting_path(parsed.database, base)


def _sqlite_engine(path: Path, *, writes: bool) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=2 if writes else 4,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS, "cached_statements": 256},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        if not writes:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to write-ahead logging. Two processes that do so at once are refused without waiting: we wait."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return


class Database:
    """One open store.

    Args:
        path: the SQLite file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: tuple[int, int] | None = None
        self._writer_engine = _sqlite_engine(path, writes=True)
        self._reader_engine = _sqlite_engine(path, writes=False)
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-read")
        self._committing = 0

    @property
    def waiting(self) -> int:
        """Writes handed in and not yet committed. The intake refuses deliveries above a bound."""
        return self._queue.qsize() + self._committing

    def start(self) -> None:
        """Start the writer. Call `migrate` before, `close` at the end."""
        self._file = _identity(self.path)
        self._thread = threading.Thread(target=self._write_until_closed, name="store-write", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Commit what is waiting and close every connection."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        self._readers.shutdown()
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
            if _is_outage(error):
                raise _unavailable(error) from error
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
            raise _unavailable(error) from error

    # asynchronous use: the running receiver

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """`query` in a worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: self.query(function, *args))

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
        return future

    # the writer's thread

    def _write_until_closed(self) -> None:
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
        try:
            self._require_file()
            self._transaction(writes)
            self._require_file()  # it may have been moved meanwhile
        except StoreUnavailable as error:
            self._fail(writes, error)
        except exc.DBAPIError as error:
            if _is_outage(error):
                self._fail(writes, _unavailable(error))
            else:
                self._commit_each(writes, error)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked for the write
            self._commit_each(writes, error)

    def _commit_each(self, writes: list[_Write], error: Exception) -> None:
        """One write broke the transaction they shared: give each its own, so that only that one fails."""
        if len(writes) == 1:
            self._fail(writes, error)
            return
        for write in writes:
            self._commit([write])

    def _require_file(self) -> None:
        """What is written into a file that was moved away or removed is not durable: the next start would not see it.

        Raises:
            StoreUnavailable: the file is not the one that was opened.
        """
        if _identity(self.path) != self._file:
            raise StoreUnavailable(
                f"The store {self.path} was moved, removed or replaced. Put it back, or restart the receiver."
            )

    def _transaction(self, writes: list[_Write]) -> None:
        groups: dict[Any, list[_Write]] = {}
        for write in writes:
            groups.setdefault(write.function, []).append(write)
        connection = self._connection = self._connection or self._writer_engine.connect()
        try:
            with connection.begin():
                for function, group in groups.items():
                    results = function(connection, [write.item for write in group])
                    for write, outcome in zip(group, results, strict=True):
                        write.outcome = outcome
        except BaseException:
            self._connection = None  # a fresh one next time, whatever state this one is in
            connection.close()
            raise

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


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_outage(error: exc.DBAPIError) -> bool:
    """Whether the store itself is in trouble (full, locked, unreadable), rather than this one write wrong."""
    return not isinstance(error, exc.IntegrityError | exc.DataError | exc.ProgrammingError | exc.NotSupportedError)


def _unavailable(error: exc.DBAPIError) -> StoreUnavailable:
    return StoreUnavailable(f"The store did not answer: {error.orig}.")
