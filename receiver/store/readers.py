"""Threads that read the store: those that runs wait for, and those for lists. Neither waits for the other.

Apart from `Database` because of how a list is ended: SQLite is interrupted from outside, which takes effect in the
middle of a statement, also while that reads page after page from a slow disk, and costs nothing before.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, exc

from receiver.errors import ListingBusy, ListingTimeout, StoreUnavailable
from receiver.store.engines import sqlite_engine

T = TypeVar("T")

THREADS = 2
"""Of each kind. Their connections are a pool's, which has more than so many: none waits for another's."""

LISTING_SECONDS = 5.0
"""How long a list, a search or a count may take, and how long it waits until it may begin."""

AGAIN_SECONDS = 0.05
"""An interrupt ends one statement; the function may go on with the next, so it is repeated."""


class Readers:
    """Threads that read, each with a connection of its own.

    Args:
        path: the SQLite file.
        busy_seconds: how long a statement waits for another process's transaction.
        name: of the threads.
        unavailable: makes the error to raise of the driver's.
    """

    def __init__(
        self, path: Path, busy_seconds: float, name: str, unavailable: Callable[[exc.DBAPIError], StoreUnavailable]
    ) -> None:
        self._engine = sqlite_engine(path, busy_seconds, writes=False)
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
        """Wait for what is being read, and close every connection."""
        self._threads.shutdown()
        self._engine.dispose()


class ListReaders(Readers):
    """Threads that read lists, searches and counts, which are ended when they take too long.

    Args:
        seconds: how long one may take, and how long it waits until it may begin.
        path, busy_seconds, name, unavailable: as for `Readers`.
    """

    def __init__(
        self,
        path: Path,
        busy_seconds: float,
        name: str,
        unavailable: Callable[[exc.DBAPIError], StoreUnavailable],
        seconds: float = LISTING_SECONDS,
    ) -> None:
        super().__init__(path, busy_seconds, name, unavailable)
        self._seconds = seconds
        self._free = asyncio.Semaphore(THREADS)
        self._running: set[_Listing] = set()

    def query(self, function: Callable[..., T], *args: Any) -> T:
        """See `Database.query_list`."""
        listing, over = _Listing(), threading.Event()

        def watch() -> None:
            patience = self._seconds
            while not over.wait(patience):
                listing.end()
                patience = AGAIN_SECONDS

        threading.Thread(target=watch, name="store-limit", daemon=True).start()
        try:
            return self._run(listing, function, *args)
        finally:
            over.set()

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """See `Database.read_list`. If the caller is cancelled, what is being read for it is ended."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            raise ListingBusy(
                f"Other lists are being read, and none of them ended within {self._seconds:g} s; "
                "this one was not begun. Ask again."
            ) from None
        loop, listing = asyncio.get_running_loop(), _Listing()
        try:
            reading = loop.run_in_executor(self._threads, partial(self._run, listing, function, *args))
        except BaseException:
            self._free.release()
            raise
        reading.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait([reading], timeout=self._seconds)
        finally:
            self._end(listing, reading)
        if not done:  # whatever its thread does meanwhile: it may be waiting for a disk
            raise self._too_long()
        return reading.result()

    def close(self) -> None:
        """End what is being read, and close every connection."""
        while self._running:
            for listing in tuple(self._running):
                listing.end()
            time.sleep(AGAIN_SECONDS)
        super().close()

    def _run(self, listing: _Listing, function: Callable[..., T], *args: Any) -> T:
        self._running.add(listing)
        try:
            with self._engine.connect() as connection, listing.reading(connection):
                return function(connection, *args)
        except exc.DBAPIError as error:
            if listing.ended:
                raise self._too_long() from None
            raise self._unavailable(error) from error
        finally:
            self._running.discard(listing)

    def _ended(self, reading: asyncio.Future[Any]) -> None:
        self._free.release()
        if not reading.cancelled():
            reading.exception()  # the caller has it, if it still waits

    def _end(self, listing: _Listing, reading: asyncio.Future[Any]) -> None:
        """End it if it is being read still, however many statements that takes."""
        if not reading.done():
            listing.end()
            reading.get_loop().call_later(AGAIN_SECONDS, self._end, listing, reading)

    def _too_long(self) -> ListingTimeout:
        return ListingTimeout(
            f"This took more than {self._seconds:g} s and was ended. Narrow it down: by source, type, state or time."
        )


class _Listing:
    """What a thread reads, until somebody ends it from another one."""

    def __init__(self) -> None:
        self.ended = False
        self._lock = threading.Lock()
        self._driver: Any = None

    @contextmanager
    def reading(self, connection: Connection) -> Iterator[None]:
        """While it uses the connection. Afterwards that may be somebody else's, and is not interrupted any more."""
        with self._lock:
            self._driver = connection.connection.driver_connection
        try:
            yield
        finally:
            with self._lock:
                self._driver = None

    def end(self) -> None:
        """Interrupt the statement that it executes now, if it does."""
        with self._lock:
            self.ended = True
            if self._driver is not None:
                self._driver.interrupt()
