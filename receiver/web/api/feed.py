"""One reader of new events for all streams: woken by commits of this process, looking every second for others'."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog

from receiver.errors import ListingTimeout, ReceiverError, StoreUnavailable
from receiver.store import feed
from receiver.store.database import Database
from receiver.store.feed import Cursor

log = structlog.get_logger("receiver.api")

MAX_STREAMS = 64
POLL_INTERVAL_SECONDS = 1.0
"""How often the store is looked at for events that another process committed."""
REST = 4.0
"""The reader rests so many times as long as its last read took: it never has more than a fifth of a core."""
PAGE = 200
MAX_QUEUED = 500
"""Events that a stream may be behind in memory; further behind, it reads them from the store at its own pace."""

Row = dict[str, Any]


class TooManyStreams(ReceiverError):
    """All streams that there may be are open."""

    reason = "too_many_streams"


class Stream:
    """One open stream: what it has not sent yet, and the mark of what it has sent.

    `behind`: there is more in the store than in the queue.
    """

    def __init__(self) -> None:
        self.mark = Cursor()
        self.queue: deque[tuple[Cursor, Row]] = deque()
        self.behind = False
        self.ended = asyncio.Event()
        self.wake = asyncio.Event()

    def add(self, found: list[tuple[Cursor, Row]]) -> None:
        """New events, unless it is too far behind to keep them."""
        self.behind = self.behind or len(self.queue) + len(found) > MAX_QUEUED
        if not self.behind:
            self.queue.extend(found)
        self.wake.set()

    def end(self) -> None:
        """Nothing more is to be sent; a client that wants more comes again."""
        self.ended.set()
        self.wake.set()


class Feed:
    """Gives each stream the events committed since its mark, each once, in the order of the commits.

    Args:
        poll_interval_seconds: how often it looks without being woken.
    """

    def __init__(
        self, database: Database, poll_interval_seconds: float = POLL_INTERVAL_SECONDS, max_streams: int = MAX_STREAMS
    ) -> None:
        self._database = database
        self._poll_interval_seconds = poll_interval_seconds
        self._max_streams = max_streams
        self._streams: set[Stream] = set()
        self._reader: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()
        self._cursor = Cursor()
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def active(self) -> bool:
        """Whether anybody listens: nothing need be told otherwise."""
        return bool(self._streams)

    def wake(self, _: object = None) -> None:
        """Something was committed, perhaps an event. On the loop."""
        self._wake.set()

    def close(self) -> None:
        """End every stream, now and for good."""
        self._closed = True
        self._wake.set()
        for stream in self._streams:
            stream.end()

    async def join(self, after: str | None) -> Stream:
        """A new stream; `leave` ends it.

        Args:
            after: an event's id: begin with what was committed after it; None for what comes from now on.

        Raises:
            TooManyStreams: there are as many as there may be.
            ListingTimeout: other lists held it up for too long.
            StoreUnavailable: the store does not answer.
        """
        if self._closed or len(self._streams) >= self._max_streams:
            raise TooManyStreams(f"There are {self._max_streams} streams, which is the most; end one, or try later.")
        stream = Stream()
        self._streams.add(stream)
        try:
            async with self._beginning:
                if self._reader is None or self._reader.done():
                    self._cursor = await self._database.read_list(feed.newest)
                    self._reader = asyncio.create_task(self._read())
            # From here on the stream is given all that the reader finds, which begins right behind this mark.
            stream.mark = self._cursor
            if after is not None:
                stream.mark = await self._database.read_list(feed.cursor_of, after)
                stream.behind = True
        except BaseException:
            self.leave(stream)
            raise
        return stream

    def leave(self, stream: Stream) -> None:
        """The stream is over."""
        stream.end()
        self._streams.discard(stream)
        self._wake.set()  # the last one lets the reader end

    async def follow(self, stream: Stream, patience: Callable[[], float]) -> AsyncIterator[Row | None]:
        """New events, until the stream is ended or there is no patience.

        Args:
            patience: asked before each wait: seconds that it may last; 0 or less ends the stream.

        Yields:
            An event's row, or None where nothing came for so long.

        Raises:
            ListingTimeout: other lists held it up for too long.
            StoreUnavailable: the store does not answer.
        """
        while not stream.ended.is_set():
            while stream.behind and not stream.ended.is_set():
                stream.queue.clear()  # before the read: what is committed after it will be queued again
                stream.behind = False
                found = await self._database.read_list(feed.events_after, stream.mark, PAGE)
                for stream.mark, row in found:
                    yield row
                stream.behind = stream.behind or bool(found)
            stream.wake.clear()
            while stream.queue:
                at, row = stream.queue.popleft()
                if at.row > stream.mark.row:  # else it was read while catching up
                    stream.mark = at
                    yield row
            if stream.behind or stream.ended.is_set():
                continue
            if (seconds := patience()) <= 0:
                return
            try:
                async with asyncio.timeout(seconds):
                    await stream.wake.wait()
            except TimeoutError:
                yield None

    async def _read(self) -> None:
        try:
            await self._read_new()
        except Exception:
            log.exception("stream.broken")
            for stream in self._streams:
                stream.end()

    async def _read_new(self) -> None:
        loop = asyncio.get_running_loop()
        silent = False
        while self._streams and not self._closed:
            self._wake.clear()
            began = loop.time()
            try:
                found = await self._database.read_list(feed.events_after, self._cursor, PAGE)
                silent = False
            except (ListingTimeout, StoreUnavailable) as error:
                found = []
                if not silent:
                    log.error("stream.store_unavailable", detail=str(error))
                silent = True
            if found:
                self._tell(found)
            took = loop.time() - began
            if len(found) < PAGE:
                await self._sleep(self._poll_interval_seconds)
            await asyncio.sleep(min(took * REST, self._poll_interval_seconds))

    def _tell(self, found: list[tuple[Cursor, Row]]) -> None:
        moved = found[0][0].row <= self._cursor.row
        self._cursor = found[-1][0]
        for stream in self._streams:
            if moved:  # rows have new numbers: what a stream has by the old ones cannot be compared
                stream.end()
            else:
                stream.add(found)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
