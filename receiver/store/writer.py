"""The store's writer: one thread that commits writes in groups.

Writes that arrive during a commit share the next transaction; there is no timer. A transaction costs one thread hop.

A statement covers many rows where it can: after each statement the thread waits for the interpreter's lock again,
behind a busy event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, exc

from receiver.errors import StoreLocked, StoreMalformed, StoreUnavailable
from receiver.store.backend import ANSWER_SECONDS, Backend, CommitsAtRisk
from receiver.store.health import StoreHealth

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item of a batch

log = structlog.get_logger("receiver.store")

MAX_RETRIES = 5
"""How often a transaction is repeated that only failed because of another one."""
MAX_ITEMS = 512
"""Items in one transaction, at the most. Limits how long a commit takes."""

LOCKED_SECONDS = 1.0
"""How long a statement waits while the store is known to be locked, so that waiting deliveries get a response soon."""


@dataclass(slots=True)
class _Write:
    """One item for the next transaction, and the future that gets its outcome.

    Attributes:
        executing: called on `loop` when a server begins to execute the statements; else not.
        committing: called on `loop` with the outcome when only the commit is left.
        abandoned: called on `loop` with the outcome or the error, if the future was cancelled meanwhile.
    """

    function: Callable[[Connection, list[Any]], Sequence[Any]]
    item: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    executing: Callable[[], None] | None = None
    committing: Callable[[Any], None] | None = None
    abandoned: Callable[[Any], None] | None = None
    outcome: Any = field(default=None)
    error: BaseException | None = field(default=None)


class Writer:
    """The thread that writes to one store, and the queue of writes.

    Args:
        backend: the store.
        engine: creates the connection.
        busy_seconds: how long a statement waits for another process's transaction before the store counts as locked.
        health: is updated.
    """

    def __init__(self, backend: Backend, engine: Engine, busy_seconds: float, health: StoreHealth) -> None:
        self._backend = backend
        self._durability = backend.durability
        self._engine = engine
        self._busy_seconds = self._lock_seconds = busy_seconds
        self._health = health
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._committing = 0
        self._apart = False
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
        self._durability.opened()
        self._thread = threading.Thread(target=self._write_until_closed, name="store-write", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Commit all waiting writes and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def batch(
        self,
        function: Callable[[Connection, list[I]], Sequence[T]],
        item: I,
        loop: asyncio.AbstractEventLoop | None = None,
        executing: Callable[[], None] | None = None,
        committing: Callable[[T], None] | None = None,
        abandoned: Callable[[T | BaseException], None] | None = None,
    ) -> asyncio.Future[T]:
        """Pass `item` to `function(connection, items)` with all others that wait for it; see `Database.batch`."""
        loop = loop or asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Write(function, item, loop, future, executing, committing, abandoned))
        if self._ended:
            self._refuse_waiting()
        return future

    def unavailable(self, error: exc.DBAPIError) -> StoreUnavailable:
        """Convert an error of the driver to ours; damage is recorded while the thread runs."""
        found = self._backend.unavailable(error)
        if isinstance(found, StoreMalformed) and self._thread is not None:
            self._health.refuse(found)
        return found

    # the thread

    def _write_until_closed(self) -> None:
        try:
            self._write_batches()
        finally:
            self._ended = True
            self._refuse_waiting()
            self._durability.closed()

    def _refuse_waiting(self) -> None:
        """Fail the writes that arrived after the writer ended."""
        writes = []
        with contextlib.suppress(queue.Empty):  # two threads may do this at once
            while True:
                if (write := self._queue.get_nowait()) is not None:
                    writes.append(write)
        self._fail(writes, StoreUnavailable("The store's writer has ended: nothing is stored. Restart the receiver."))
        self._resolve_all(writes)

    def _write_batches(self) -> None:
        while (first := self._queue.get()) is not None:
            writes = [first]
            self._add_waiting(writes)
            self._commit(writes, self._add_waiting)
            self._committing = 0
            self._resolve_all(writes)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _add_waiting(self, writes: list[_Write]) -> None:
        """Add waiting writes, up to `MAX_ITEMS`."""
        with contextlib.suppress(queue.Empty):
            while len(writes) < MAX_ITEMS:
                write = self._queue.get_nowait()
                if write is None:
                    self._queue.put(None)  # commit these first, then end
                    break
                writes.append(write)
        self._committing = len(writes)

    def _commit(
        self, writes: list[_Write], add_more: Callable[[list[_Write]], None], retries: int = MAX_RETRIES
    ) -> None:
        """Commit writes, and those that `add_more` adds after the transaction has begun."""
        health = self._health
        health.lock_requested()
        try:
            if health.unusable is not None:
                raise health.unusable
            # First: while a connection is open, another process that ends does not remove the `-wal`.
            connection = self._connection_for_write()
            self._durability.require_unchanged()
            shows_health = self._transaction(connection, writes, add_more)
            self._durability.require_unchanged()  # they may have been moved during the transaction
            self._durability.committed(connection)
        except StoreUnavailable as error:
            if isinstance(error, CommitsAtRisk):
                self._save_commits()
            self._fail(writes, error)
            health.failed(error)
        except exc.DBAPIError as error:
            if retries and self._backend.is_retried(error):
                self._commit(writes, _add_nothing, retries - 1)
            elif self._backend.is_locked_row(error) and len({write.function for write in writes}) > 1:
                self._commit_apart(writes)
            elif self._backend.is_outage(error):
                found = self.unavailable(error)
                self._fail(writes, found)
                health.failed(found)
            else:
                self._commit_each(writes, error)
        except Exception as error:  # noqa: BLE001 - set in the callers' futures
            self._commit_each(writes, error)
        else:
            if shows_health:
                health.committed()
        finally:
            health.transaction_ended()

    def _commit_each(self, writes: list[_Write], error: Exception) -> None:
        """Commit each write in its own transaction, after one of them failed the shared one."""
        if len(writes) == 1:
            self._fail(writes, error)
            return
        for write in writes:
            self._commit([write], _add_nothing)

    def _commit_apart(self, writes: list[_Write]) -> None:
        """Commit each kind of write in its own transaction, after one of them waited too long for a lock.

        A process that is stopped while it changes runs must not keep others from storing deliveries.
        """
        self._apart = True
        try:
            for function in {write.function: None for write in writes}:
                self._commit([write for write in writes if write.function == function], _add_nothing)
        finally:
            self._apart = False

    def _transaction(
        self, connection: Connection, writes: list[_Write], add_more: Callable[[list[_Write]], None]
    ) -> bool:
        """Commit writes; whether that shows that the store can be written."""
        try:
            with connection.begin():
                self._health.lock_acquired()
                add_more(writes)  # those that arrived while this waited for the lock
                if self._backend.folder is None:  # a server executes the statements, and this process waits
                    for write in writes:
                        if write.executing is not None:
                            _call_on(write.loop, write.executing)
                groups: dict[Any, list[_Write]] = {}
                for write in writes:
                    groups.setdefault(write.function, []).append(write)
                for function, group in groups.items():
                    results = function(connection, [write.item for write in group])
                    for write, outcome in zip(group, results, strict=True):
                        write.outcome = outcome
                for write in writes:
                    if write.committing is not None:
                        _call_on(write.loop, write.committing, write.outcome)
                # What writes nothing can be committed, and does not show that the store can be written again.
                shows_health = self._health.error is None or self._backend.has_written(connection)
        except BaseException:
            connection.close()
            self._connection = None  # its state is unknown: use a new one
            raise
        return shows_health

    def _connection_for_write(self) -> Connection:
        """The writer's connection, with the time-out for locks that fits the store's health."""
        locked = self._apart or isinstance(self._health.error, StoreLocked)
        seconds = min(self._busy_seconds, LOCKED_SECONDS) if locked else self._busy_seconds
        if self._connection is not None and not self._durability.is_connected(self._connection):
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._durability.require_store()  # connecting would create a new file
            self._connection = self._engine.connect()
            self._backend.limit_answers(self._connection, ANSWER_SECONDS)
            self._lock_seconds = -1.0
        if seconds != self._lock_seconds:
            self._backend.set_lock_seconds(self._connection, seconds)
            self._lock_seconds = seconds
        return self._connection

    def _save_commits(self) -> None:
        """Save acknowledged commits that would be lost with this process."""
        try:
            self._backend.checkpoint(self._connection_for_write())
        except exc.DBAPIError as error:
            log.error("store.wal_not_saved", path=self._backend.location, detail=str(error))

    def _fail(self, writes: list[_Write], error: BaseException) -> None:
        for write in writes:
            write.error = error

    def _resolve_all(self, writes: list[_Write]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
        for write in writes:
            by_loop.setdefault(write.loop, []).append(write)
        for loop, group in by_loop.items():
            committed = sum(write.error is None for write in group)
            if not _call_on(loop, self._resolve, group) and committed:
                log.warning("store.committed_late", writes=committed)

    def _resolve(self, writes: list[_Write]) -> None:
        for write in writes:
            if write.future.done():  # the caller was cancelled; the write is committed all the same
                if write.abandoned is not None:
                    write.loop.call_soon(write.abandoned, write.error or write.outcome)
                continue
            if write.error is not None:
                write.future.set_exception(write.error)
            else:
                write.future.set_result(write.outcome)


def _call_on(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> bool:
    """Call a function on another thread's loop; False if that loop is closed, and with it the callers."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        return False
    return True


def _add_nothing(writes: list[_Write]) -> None:
    """Adds nothing, for a write in a transaction of its own."""
