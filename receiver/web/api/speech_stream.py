"""The audio of a job as a response, while it is made.

The status is sent once the first bytes are there. Afterwards an error can only be shown by not completing the response:
the connection is closed instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.outbound.live_audio import LiveAudio, StreamFailed
from receiver.providers.types import StreamedJob
from receiver.web.api.clients import wait_for_disconnect
from receiver.web.api.context import ApiContext, Row

JOB_ID = "Job-Id"
"""The header with the job's id."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}


async def open_audio_response(
    context: ApiContext, row: Row, stream: StreamedJob, headers: Mapping[str, str]
) -> ASGIApp:
    """Open the job's stream and return the response with its audio.

    Args:
        headers: of the response, besides its own.

    Raises:
        StreamFailed: the stream cannot be opened; the job continues.
    """
    stack = AsyncExitStack()
    audio = await stack.enter_async_context(context.open_stream(row, stream))
    return _AudioResponse(stack, audio, {**HEADERS, **headers, JOB_ID: row["id"]})


class _AudioResponse:
    """The response. An ASGI application of its own, so that the stream is closed as soon as its reader is gone."""

    def __init__(self, stack: AsyncExitStack, audio: LiveAudio, headers: Mapping[str, str]) -> None:
        self._stack = stack
        self._audio = audio
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(StreamFailed):  # logged; the server closes the connection, as the response is not complete
            await self._stream(receive, send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        async with self._stack:
            sending = asyncio.create_task(self._send(send))
            leaving = asyncio.create_task(wait_for_disconnect(receive))
            try:
                await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            finally:
                sending.cancel()
                leaving.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)
            if not sending.cancelled():
                sending.result()

    async def _send(self, send: Send) -> None:
        lines = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        lines.append((b"content-type", self._audio.content_type.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        async for chunk in self._audio.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
