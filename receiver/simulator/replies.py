"""Answers that Starlette has no class for: streamed with a pace, cut short, or not given at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Message, Receive, Scope, Send

from .changes import Closing

CLOSE = "simulator.close"
"""ASGI extension of our servers: a function that closes the connection once all is written."""


@dataclass
class StreamReply:
    """Sends `pieces` as they come; with `cut` it closes the connection instead of ending properly.

    `gap` is the pause in seconds after each piece.
    """

    status: int
    headers: Mapping[str, str]
    pieces: Iterable[bytes]
    closing: Closing
    gap: float = 0.0
    cut: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        raw = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in self.headers.items()]
        await send({"type": "http.response.start", "status": HTTPStatus(self.status), "headers": raw})
        gone = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            if scope["method"] != "HEAD":
                await self._stream(send, gone)
            if gone.done():
                return
            if self.cut or self.closing.closed:
                await _close(scope, gone)
            else:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()

    async def _stream(self, send: Send, gone: asyncio.Future[None]) -> None:
        for piece in self.pieces:
            if gone.done() or self.closing.closed:
                return
            message: Message = {"type": "http.response.body", "body": piece, "more_body": True}
            await send(message)
            await (self.closing.pause(self.gap) if self.gap else asyncio.sleep(0))


async def no_reply(scope: Scope, receive: Receive, send: Send) -> None:
    """Close the connection without a response, as when one is lost."""
    _ = send
    await _close(scope, asyncio.ensure_future(_wait_for_disconnect(receive)))


async def _close(scope: Scope, gone: asyncio.Future[None]) -> None:
    scope["extensions"][CLOSE]()
    await gone


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
