"""Responses for which Starlette has no class: sent slowly, cut short, or dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Message, Receive, Scope, Send

from .changes import Shutdown

FOREVER_SECONDS = 86_400.0
CLOSE_EXTENSION = "simulator.close"
"""ASGI extension of `LoopServer`: a function that closes the connection once everything is written."""


@dataclass
class StreamResponse:
    """Sends `chunks`, with a pause of `pause_seconds` after each.

    With `cut` it closes the connection instead of finishing the response. With `stall` it sends nothing more, and waits
    for the client to disconnect. `on_disconnect` is called if the client disconnects first.
    """

    status: int
    headers: Mapping[str, str]
    chunks: Iterable[bytes]
    shutdown: Shutdown
    pause_seconds: float = 0.0
    cut: bool = False
    stall: bool = False
    on_disconnect: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        raw = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in self.headers.items()]
        await send({"type": "http.response.start", "status": HTTPStatus(self.status), "headers": raw})
        disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            if scope["method"] != "HEAD":
                await self._stream(send, disconnected)
            if self.stall:
                await self._stall(disconnected)
            if disconnected.done():
                self.on_disconnect()
                return
            if self.cut or self.shutdown.started:
                await _close(scope, disconnected)
            else:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            disconnected.cancel()

    async def _stall(self, disconnected: asyncio.Future[None]) -> None:
        closing = asyncio.ensure_future(self.shutdown.pause(FOREVER_SECONDS))
        await asyncio.wait([disconnected, closing], return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()

    async def _stream(self, send: Send, disconnected: asyncio.Future[None]) -> None:
        for chunk in self.chunks:
            if disconnected.done() or self.shutdown.started:
                return
            message: Message = {"type": "http.response.body", "body": chunk, "more_body": True}
            await send(message)
            await (self.shutdown.pause(self.pause_seconds) if self.pause_seconds else asyncio.sleep(0))


async def drop_connection(scope: Scope, receive: Receive, send: Send) -> None:
    """Close the connection without a response."""
    _ = send
    await _close(scope, asyncio.ensure_future(_wait_for_disconnect(receive)))


async def _close(scope: Scope, disconnected: asyncio.Future[None]) -> None:
    scope["extensions"][CLOSE_EXTENSION]()
    await disconnected


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
