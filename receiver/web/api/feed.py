"""One reader of new events for all streams: woken by this process's commits and by what others announce.

It polls for the commits of processes that do not announce them, and for events that the database does not show yet.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection

from receiver.errors import ListingTimeout, ReceiverError, StoreUnavailable
from receiver.model.metadata import Pair
from receiver.store import feed
from receiver.store.database import Database
from receiver.store.feed import Cursor

log = structlog.get_logger("receiver.api")

MAX_STREAMS = 64
POLL_INTERVAL_SECONDS = 1.0
"""How often the store is polled for events that another process committed, and has not announced."""
QUIET_POLL_SECONDS = 60.0
"""How often at least. A process of an older release announces no events without runs."""
REST_FACTOR = 4.0
"""The reader pauses this many times as long as its last read took: it uses at most a fifth of a core."""
PAGE_SIZE = 200
MAX_QUEUED = 500
"""Unsent events of a stream in memory; a stream with more reads them from the store at its own pace."""

Row = dict[str, Any]


class TooManyStreams(ReceiverError):
    """The maximum number of streams is open."""

    reason = "too_many_streams"


@dataclass(frozen=True, slots=True)
class FeedFilter:
    """Which events a stream wants. `metadata`: pairs that an event must all have."""

    source: str | None = None
    type: str | None = None
    metadata: tuple[Pair, ...] = ()

    def has_kind(self, row: Row) -> bool:
        """Whether the event is of the source and the type."""
        return self.source in (None, row["source"]) and self.type in (None, row["type"])


class FeedItem(NamedTuple):
    """An event's row, and whether the stream wants it; of the others it needs the position."""

    row: Row
    wanted: bool


class Stream:
    """One open stream.

    Attributes:
        filter: which events it wants.
        cursor: the last event that it has sent.
        queue: the events that it has not sent yet.
        behind: whether there are more in the store than in the queue.
    """

    def __init__(self, filter: FeedFilter = FeedFilter()) -> None:
        self.filter = filter
        self.cursor = Cursor()
        self.queue: deque[tuple[Cursor, Row]] = deque()
        self.behind = False
        self.ended = asyncio.Event()
        self.wake = asyncio.Event()

    def add(self, found: list[tuple[Cursor, Row]]) -> None:
        """Queue new events, unless it is too far behind."""
        self.behind = self.behind or len(self.queue) + len(found) > MAX_QUEUED
        if not self.behind:
            self.queue.extend(found)
        self.wake.set()

    def end(self) -> None:
        """Send nothing more; a client that wants more connects again."""
        self.ended.set()
        self.wake.set()


class Feed:
    """Gives each stream the events committed after its cursor, each once, in the order of the commits.

    Args:
        poll_seconds: how long it may wait that polls so often, and is woken by changes (`Changes.poll_seconds`).
    """

    def __init__(
        self,
        database: Database,
        poll_seconds: Callable[[float], float] = lambda usual: usual,
        max_streams: int = MAX_STREAMS,
    ) -> None:
        self._database = database
        self._poll_seconds = poll_seconds
        self._max_streams = max_streams
        self._streams: set[Stream] = set()
        self._reader: asyncio.Task[None] | None = None
        self._start_lock = asyncio.Lock()
        self._cursor = Cursor()
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def active(self) -> bool:
        """Whether a stream is open."""
        return bool(self._streams)

    def wake(self) -> None:
        """An event was committed, perhaps. Called on the loop."""
        self._wake.set()

    def close(self) -> None:
        """End every stream, and open no more."""
        self._closed = True
        self._wake.set()
        for stream in self._streams:
            stream.end()

    async def subscribe(
        self,
        after: str | None,
        filter: FeedFilter = FeedFilter(),
    ) -> Stream:
        """Open a stream; `unsubscribe` ends it.

        Args:
            after: an event's id: begin with the events committed after it; None for those from now on.
            filter: which events it wants; its metadata must be indexed.

        Raises:
            TooManyStreams: the maximum number is open.
            ListingTimeout: it waited too long for other lists.
            StoreUnavailable: the store is unavailable.
        """
        if self._closed or len(self._streams) >= self._max_streams:
            raise TooManyStreams(
                f"{self._max_streams} streams are open, which is the maximum; close one, or try later."
            )
        stream = Stream(filter)
        self._streams.add(stream)
        try:
            async with self._start_lock:
                if self._reader is None or self._reader.done():
                    self._cursor = await self._database.read_list(feed.newest)
                    self._reader = asyncio.create_task(self._read())
            # From here on the stream gets all that the reader finds, which begins right after this cursor.
            stream.cursor = self._cursor
            if after is not None:
                stream.cursor = await self._database.read_list(feed.cursor_of, after)
                stream.behind = True
        except BaseException:
            self.unsubscribe(stream)
            raise
        return stream

    def unsubscribe(self, stream: Stream) -> None:
        """End the stream."""
        stream.end()
        self._streams.discard(stream)
        self._wake.set()  # without streams the reader ends

    async def follow(self, stream: Stream, next_timeout: Callable[[], float]) -> AsyncIterator[FeedItem | None]:
        """New events, until the stream is ended or its time is over.

        Args:
            next_timeout: called before each wait: seconds that it may last; 0 or less ends the stream.

        Yields:
            An event, or None after a wait without events.

        Raises:
            MetadataNotIndexed: its filter's metadata is not indexed any more.
            ListingTimeout: it waited too long for other lists.
            StoreUnavailable: the store is unavailable.
        """
        while not stream.ended.is_set():
            while stream.behind and not stream.ended.is_set():
                stream.queue.clear()  # before the read: what is committed after it is queued again
                stream.behind = False
                found = await self._database.read_list(feed.events_after, stream.cursor, PAGE_SIZE)
                wanted = await self._find_wanted(stream.filter, [row for _, row in found])
                for stream.cursor, row in found:
                    yield FeedItem(row, row["id"] in wanted)
                stream.behind = stream.behind or bool(found)
            stream.wake.clear()
            while stream.queue:
                queued = [stream.queue.popleft() for _ in range(min(PAGE_SIZE, len(stream.queue)))]
                wanted = await self._find_wanted(stream.filter, [row for _, row in queued])
                for at, row in queued:
                    if at.is_after(stream.cursor):  # else it was read while catching up
                        stream.cursor = at
                        yield FeedItem(row, row["id"] in wanted)
            if stream.behind or stream.ended.is_set():
                continue
            if (seconds := next_timeout()) <= 0:
                return
            try:
                async with asyncio.timeout(seconds):
                    await stream.wake.wait()
            except TimeoutError:
                yield None

    async def _find_wanted(self, filter: FeedFilter, rows: Sequence[Row]) -> set[str]:
        """The ids of the events that a filter wants."""
        found = {row["id"] for row in rows if filter.has_kind(row)}
        if not found or not filter.metadata:
            return found
        return await self._database.read_list(feed.with_metadata, found, filter.metadata)

    async def _read(self) -> None:
        try:
            await self._read_new()
        except Exception:
            log.exception("stream.broken")
            for stream in self._streams:
                stream.end()

    async def _read_new(self) -> None:
        loop = asyncio.get_running_loop()
        failing = False
        while self._streams and not self._closed:
            self._wake.clear()
            began = loop.time()
            hidden = False
            try:
                found, hidden = await self._database.read_list(_new_events, self._cursor)
                failing = False
            except (ListingTimeout, StoreUnavailable) as error:
                found = []
                if not failing:
                    log.error("stream.store_unavailable", detail=str(error))
                failing = True
            if found:
                self._distribute(found)
            took = loop.time() - began
            if len(found) < PAGE_SIZE:
                # Nobody announces that a hidden event is shown.
                await self._sleep(POLL_INTERVAL_SECONDS if hidden or failing else self._quiet_seconds())
            await asyncio.sleep(min(took * REST_FACTOR, POLL_INTERVAL_SECONDS))

    def _quiet_seconds(self) -> float:
        return min(self._poll_seconds(POLL_INTERVAL_SECONDS), QUIET_POLL_SECONDS)

    def _distribute(self, found: list[tuple[Cursor, Row]]) -> None:
        moved = not found[0][0].is_after(self._cursor)
        self._cursor = found[-1][0]
        for stream in self._streams:
            if moved:  # the rows were renumbered: a stream's cursor has an old number and cannot be compared
                stream.end()
            else:
                stream.add(found)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


def _new_events(connection: Connection, cursor: Cursor) -> tuple[list[tuple[Cursor, Row]], bool]:
    """The next events, and whether there are events that readers do not get yet."""
    return feed.events_after(connection, cursor, PAGE_SIZE), feed.has_hidden(connection)
