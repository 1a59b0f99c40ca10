"""The store's writer: one thread that commits in groups.

Writes that arrive while a commit is on its way gather and share the next transaction; nobody waits for a timer. A
transaction costs one thread hop.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, exc

from receiver.errors import StoreLocked, StoreMalformed, StoreUnavailable
from receiver.store.engines import checkpoint, wait_for_lock
from receiver.store.faults import is_outage, unavailable
from receiver.store.health import LogRemoved, StoreFiles, StoreHealth

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item of a batch

log = structlog.get_logger("receiver.store")

MAX_ITEMS = 512
"""Items that share one transaction at the most: bounds how long a commit takes."""

LOCKED_SECONDS = 1.0
"""How long a statement waits while the store is known to be locked, so that deliveries behind it are answered soon."""


@dataclass(slots=True)
class _Write:
    """One thing to do in the next transaction, and where its outcome goes."""

    function: Callable[[Connection, list[Any]], Sequence[Any]]
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    outcome: Any = field(default=None)
    error: BaseException | None = field(default=None)


class Writer:
    """The thread that writes to one store, and what waits for it.

    Args:
        path: the SQLite file.
        engine: makes its connection.
        busy_seconds: how long a statement waits for another process's transaction before the store counts as locked.
        health: is kept up to date.
    """

    def __init__(self, path: Path, engine: Engine, busy_seconds: float, health: StoreHealth) -> None:
        self._path = path
        self._engine = engine
        self._busy_seconds = self._lock_seconds = busy_seconds
        self._health = health
        self._files = StoreFiles(path)
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._committing = 0
        self._ended = False

    @property
    def waiting(self) -> int:
        """Writes handed in and not yet committed."""
        return self._queue.qsize() + self._committing

    @property
    def running(self) -> bool:
        """Whether the thread runs: started, neither closed nor broken."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._files.opened()
        self._thread = threading.Thread(target=self._write_until_closed, name="store-write", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Commit what is waiting and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def batch(
        self,
        function: Callable[[Connection, list[I]], Sequence[T]],
        item: I,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Future[T]:
        """Hand `item` to `function(connection, items)` with all others that wait for it; see `Database.batch`."""
        loop = loop or asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Write(function, item, loop, future))
        if self._ended:
            self._refuse_waiting()
        return future

    def unavailable(self, error: exc.DBAPIError) -> StoreUnavailable:
        """Our error for one of SQLite's; damage is noted while the thread runs."""
        found = unavailable(error, self._path)
        if isinstance(found, StoreMalformed) and self._thread is not None:
            self._health.damaged(found)
        return found

    # the thread

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
        while (first := self._queue.get()) is not None:
            writes = [first]
            self._gather(writes)
            self._commit(writes, self._gather)
            self._committing = 0
            self._report(writes)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _gather(self, writes: list[_Write]) -> None:
        """Add what waits, as far as it fits."""
        with contextlib.suppress(queue.Empty):
            while len(writes) < MAX_ITEMS:
                write = self._queue.get_nowait()
                if write is None:
                    self._queue.put(None)  # the last there is: these first
                    break
                writes.append(write)
        self._committing = len(writes)

    def _commit(self, writes: list[_Write], join: Callable[[list[_Write]], None]) -> None:
        """Commit writes, and those that `join` adds to them once the transaction is begun."""
        health = self._health
        health.waits()
        try:
            if health.malformed is not None:
                raise health.malformed
            # First: beside an open connection no other process that ends removes the `-wal`.
            connection = self._patient_connection()
            self._files.require_unchanged()
            self._transaction(connection, writes, join)
            self._files.require_unchanged()  # they may have been moved meanwhile
        except StoreUnavailable as error:
            if isinstance(error, LogRemoved):
                self._save_log()
            self._fail(writes, error)
            health.failed(error)
        except exc.DBAPIError as error:
            if is_outage(error):
                found = self.unavailable(error)
                self._fail(writes, found)
                health.failed(found)
            else:
                self._commit_each(writes, error)
        except Exception as error:  # noqa: BLE001 - handed to the writer's caller
            self._commit_each(writes, error)
        else:
            health.committed()
        finally:
            health.rests()

    def _commit_each(self, writes: list[_Write], error: Exception) -> None:
        """One write broke the transaction they shared: give each its own, so that only that one fails."""
        if len(writes) == 1:
            self._fail(writes, error)
            return
        for write in writes:
            self._commit([write], _nobody)

    def _transaction(self, connection: Connection, writes: list[_Write], join: Callable[[list[_Write]], None]) -> None:
        try:
            with connection.begin():
                self._health.works()
                join(writes)  # what came meanwhile
                groups: dict[Any, list[_Write]] = {}
                for write in writes:
                    groups.setdefault(write.function, []).append(write)
                for function, group in groups.items():
                    results = function(connection, [write.item for write in group])
                    for write, outcome in zip(group, results, strict=True):
                        write.outcome = outcome
        except BaseException:
            connection.close()
            self._connection = None  # a fresh one next time, whatever state this one is in
            raise

    def _patient_connection(self) -> Connection:
        """The writer's connection, which waits for a lock as long as it should."""
        locked = isinstance(self._health.error, StoreLocked)
        seconds = min(self._busy_seconds, LOCKED_SECONDS) if locked else self._busy_seconds
        if self._connection is None:
            self._files.require_store()  # to connect would make a new one
            self._connection = self._engine.connect()
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
            log.error("store.log_not_saved", path=str(self._path), detail=str(error))

    def _fail(self, writes: list[_Write], error: BaseException) -> None:
        for write in writes:
            write.error = error

    def _report(self, writes: list[_Write]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
        for write in writes:
            by_loop.setdefault(write.loop, []).append(write)
        for loop, group in by_loop.items():
            try:
                loop.call_soon_threadsafe(self._resolve, group)
            except RuntimeError:  # that loop is closed: nobody waits for these any more
                log.warning("store.nobody_waiting", writes=len(group))

    def _resolve(self, writes: list[_Write]) -> None:
        for write in writes:
            if write.future.done():  # its request was cancelled; the write stands
                continue
            if write.error is not None:
                write.future.set_exception(write.error)
            else:
                write.future.set_result(write.outcome)


def _nobody(writes: list[_Write]) -> None:
    """Joins a write that has its transaction alone."""
