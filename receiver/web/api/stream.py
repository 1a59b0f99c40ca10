"""New events as they are committed: server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

import structlog
from pydantic import Field
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.errors import ListingTimeout, StoreUnavailable
from receiver.model.timestamps import utc
from receiver.store.metadata_index import MetadataNotIndexed
from receiver.web.api.clients import wait_for_disconnect
from receiver.web.api.context import ApiContext
from receiver.web.api.feed import FeedFilter, Row, Stream, TooManyStreams
from receiver.web.api.fields import (
    DIGITS,
    EventId,
    MetadataPairs,
    RequestModel,
    ShortText,
    SourceName,
    is_event_id,
)
from receiver.web.api.jobs import require_metadata, require_names
from receiver.web.api.models import event_of
from receiver.web.api.problems import unavailable

log = structlog.get_logger("receiver.api")

KEEP_ALIVE_SECONDS = 15.0
"""How often a comment is sent if no event is, so that proxies and clients keep the connection open."""
START = "evt_" + "0" * 32
"""The position before all events, in the form of an event's id."""
CLOSE_GRACE_SECONDS = 1.0
"""How long to wait at the end for a client that reads slowly."""
MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}


class StreamQuery(RequestModel):
    """Which events, from where, for how long."""

    source: Annotated[SourceName | None, Field(description="Only of this source.")] = None
    type: Annotated[ShortText | None, Field(description="Only of this type.")] = None
    metadata: MetadataPairs = ()
    after: Annotated[
        EventId | None, Field(description="Begin with what was committed after this event. `Last-Event-ID` wins.")
    ] = None
    seconds: Annotated[
        int | None,
        Field(
            ge=0,
            le=86_400,
            description="End after this time; 0 returns the events stored so far. Without it the stream does not end.",
        ),
        DIGITS,
    ] = None


class StreamHeaders(RequestModel):
    """Where a client continues after a lost connection."""

    last: Annotated[
        str | None,
        Field(alias="Last-Event-ID", description="The last `id` received; ignored if it is not an event's id."),
    ] = None


async def stream(context: ApiContext, query: StreamQuery, headers: StreamHeaders, scope: Scope) -> ASGIApp:
    """Each event once, in the order of the commits: `id` is the event's id, `event` its type, `data` the event as JSON.

    A client that reconnects with the last id misses no event. Comments keep the connection alive; `: position ID TIME`
    is the event up to which everything was sent, also of those that the filter leaves out, and the receiver's clock. It
    comes first, and with each `: nothing new`. The stream ends when the receiver stops, and when `metadata` names a key
    by which not all events are indexed any more.
    """
    await require_names(context, query.source, query.type)
    filter = FeedFilter(query.source, query.type, await require_metadata(context, query.metadata))
    if scope["method"] == "HEAD":
        return Response(None, 200, HEADERS, media_type=MEDIA_TYPE)
    after = headers.last if headers.last is not None and is_event_id(headers.last) else query.after
    try:
        subscribed = await context.feed.subscribe(after, filter)
    except TooManyStreams as error:
        raise unavailable(str(error), reason=error.reason) from None
    return _EventStream(context, query, subscribed, after)


class _EventStream:
    """The response. An ASGI application of its own, so that no task outlives the connection or the receiver."""

    def __init__(self, context: ApiContext, query: StreamQuery, stream: Stream, after: str | None) -> None:
        self._context = context
        self._query = query
        self._stream = stream
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        others = [asyncio.create_task(wait_for_disconnect(receive)), asyncio.create_task(self._ended())]
        try:
            await asyncio.wait([sending, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._context.feed.unsubscribe(self._stream)
            for task in (sending, *others):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

    async def _ended(self) -> None:
        await self._stream.ended.wait()
        await asyncio.sleep(CLOSE_GRACE_SECONDS)

    async def _send(self, send: Send) -> None:
        lines = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
        lines.append((b"content-type", MEDIA_TYPE.encode() + b"; charset=utf-8"))
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        try:
            async for text in self._texts():
                await send({"type": "http.response.body", "body": text, "more_body": True})
        except (ListingTimeout, StoreUnavailable) as error:
            log.error("stream.store_unavailable", detail=str(error))
        except MetadataNotIndexed as error:
            log.error("stream.metadata_not_indexed", detail=str(error))
        await send({"type": "http.response.body", "body": b""})

    async def _texts(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        seconds = self._query.seconds
        until = None if seconds is None else loop.time() + seconds
        sent = loop.time()

        def next_timeout() -> float:
            if until is not None and until <= loop.time():
                return 0.0
            silence = max(0.001, sent + KEEP_ALIVE_SECONDS - loop.time())  # 0 would end the stream
            return silence if until is None else min(silence, until - loop.time())

        yield b": the new events, as they are committed\n" + self._position() + b"\n"
        async for item in self._context.feed.follow(self._stream, next_timeout):
            if item is None:
                text = self._position() + b": nothing new\n\n"
            elif item.wanted:
                text = _message(item.row)
            elif loop.time() >= sent + KEEP_ALIVE_SECONDS:
                text = self._position() + b"\n"
            else:
                continue
            yield text
            sent = loop.time()

    def _position(self) -> bytes:
        """Up to which event everything was sent, and the time of this clock: a comment."""
        at = self._stream.cursor.event_id or START
        if not is_event_id(at):  # the position of an event that does not exist
            at = self._after or START
        return f": position {at} {utc(self._context.clock.now()).isoformat()}\n".encode()


def _message(row: Row) -> bytes:
    word = " ".join(row["type"].splitlines())  # from the provider: it must not begin another line
    return f"id: {row['id']}\nevent: {word}\ndata: {event_of(row).model_dump_json()}\n\n".encode()
