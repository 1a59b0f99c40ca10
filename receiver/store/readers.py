"""Threads that read the store: two for the engine, and two for lists. Neither kind waits for the other.

Separate from `Database` because of the time limit of lists: another thread interrupts the database. That works in the
middle of a statement, also during reads from a slow disk, and costs nothing otherwise.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, exc

from receiver.errors import ListingBusy, ListingTimeout, StoreUnavailable
from receiver.store.backend import Backend

T = TypeVar("T")

THREADS = 2
"""Threads of each kind. The connection pool has more connections, so that no thread waits for one."""

LISTING_SECONDS = 5.0
"""How long a list, a search or a count may take, and how long it may wait for a thread."""

INTERRUPT_INTERVAL_SECONDS = 0.05
"""How often an interrupt is repeated: it ends one statement, and the function may go on with the next."""


class Readers:
    """Threads that read, each with a connection of its own.

    Args:
        backend: the store.
        busy_seconds: how long a statement waits for another process's transaction.
        name: of the threads.
        unavailable: converts an error of the driver to the error to raise.
    """

    def __init__(
        self,
        backend: Backend,
        busy_seconds: float,
        name: str,
        unavailable: Callable[[exc.DBAPIError], StoreUnavailable],
    ) -> None:
        self._engine = backend.reader_engine(busy_seconds)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=name)
        self._unavailable = unavailable

    def query(self, function: Callable[..., T], *args: Any) -> T:
        """See `Database.query`."""
        try:
            with self._engine.connect() as connection:
                return function(connection, *args)
        except exc.DBAPIError as error:
            raise self._unavailable(error) from error

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """See `Database.read`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(self.query, function, *args))

    def close(self) -> None:
        """Wait for running queries, and close every connection."""
        self._threads.shutdown()
        self._engine.dispose()


class ListReaders(Readers):
    """Threads that read lists, searches and counts, with a time limit.

    Args:
        seconds: how long a query may take, and how long it may wait for a thread.
        backend, busy_seconds, name, unavailable: as for `Readers`.
    """

    def __init__(
        self,
        backend: Backend,
        busy_seconds: float,
        name: str,
        unavailable: Callable[[exc.DBAPIError], StoreUnavailable],
        seconds: float = LISTING_SECONDS,
    ) -> None:
        super().__init__(backend, busy_seconds, name, unavailable)
        self._interrupt_driver = backend.interrupt
        self._seconds = seconds
        self._free = asyncio.Semaphore(THREADS)
        self._running: set[_Listing] = set()
        self._interrupting = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-interrupt")

    def query(self, function: Callable[..., T], *args: Any) -> T:
        """See `Database.query_list`."""
        listing, finished = _Listing(self._interrupt_driver), threading.Event()

        def watch() -> None:
            seconds = self._seconds
            while not finished.wait(seconds):
                listing.interrupt()
                seconds = INTERRUPT_INTERVAL_SECONDS

        threading.Thread(target=watch, name="store-limit", daemon=True).start()
        try:
            return self._run(listing, function, *args)
        finally:
            finished.set()

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """See `Database.read_list`. If the caller is cancelled, its query is interrupted."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            raise ListingBusy(
                f"Other lists are being read, and none of them ended within {self._seconds:g} s; "
                "this one was not started. Try again."
            ) from None
        loop, listing = asyncio.get_running_loop(), _Listing(self._interrupt_driver)
        try:
            reading = loop.run_in_executor(self._threads, partial(self._run, listing, function, *args))
        except BaseException:
            self._free.release()
            raise
        reading.add_done_callback(self._release)
        try:
            done, _ = await asyncio.wait([reading], timeout=self._seconds)
        finally:
            self._interrupt(listing, reading)
        if not done:  # without its thread, which may be waiting for a disk
            raise self._timeout()
        return reading.result()

    def close(self) -> None:
        """Interrupt running queries, and close every connection."""
        while self._running:
            for listing in tuple(self._running):
                listing.interrupt()
            time.sleep(INTERRUPT_INTERVAL_SECONDS)
        super().close()
        self._interrupting.shutdown()

    def _run(self, listing: _Listing, function: Callable[..., T], *args: Any) -> T:
        self._running.add(listing)
        try:
            with self._engine.connect() as connection, listing.reading(connection):
                return function(connection, *args)
        except exc.DBAPIError as error:
            if listing.interrupted:
                raise self._timeout() from None
            raise self._unavailable(error) from error
        finally:
            self._running.discard(listing)

    def _release(self, reading: asyncio.Future[Any]) -> None:
        self._free.release()
        if not reading.cancelled():
            reading.exception()  # retrieved: the caller has it, if it still waits

    def _interrupt(self, listing: _Listing, reading: asyncio.Future[Any]) -> None:
        """Interrupt the query until it has ended, however many statements it has.

        In a thread, because a database may have to be asked over the network.
        """
        if not reading.done():
            listing.interrupted = True
            if not listing.interrupting:
                listing.interrupting = True
                self._interrupting.submit(listing.interrupt)
            reading.get_loop().call_later(INTERRUPT_INTERVAL_SECONDS, self._interrupt, listing, reading)

    def _timeout(self) -> ListingTimeout:
        return ListingTimeout(
            f"This took more than {self._seconds:g} s and was ended. Narrow it down by source, type, state or time, or "
            "ask for fewer rows."
        )


class _Listing:
    """A query of one thread, which another thread can interrupt."""

    def __init__(self, interrupt: Callable[[Any], None]) -> None:
        self._interrupt = interrupt
        self.interrupted = False
        self.interrupting = False
        self._lock = threading.Lock()
        self._driver: Any = None

    @contextmanager
    def reading(self, connection: Connection) -> Iterator[None]:
        """Allow interrupts while the query uses the connection, which may belong to another query afterwards."""
        with self._lock:
            self._driver = connection.connection.driver_connection
        try:
            yield
        finally:
            with self._lock:
                self._driver = None

    def interrupt(self) -> None:
        """Interrupt the statement that is being executed, if any."""
        with self._lock:
            self.interrupted = True
            if self._driver is not None:
                self._interrupt(self._driver)
            self.interrupting = False
