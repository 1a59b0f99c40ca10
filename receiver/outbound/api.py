"""Calls a provider's API: one small request, one small response, under the same guard as all outgoing traffic.

Redirects are not followed: they would send the API key elsewhere.
"""

from __future__ import annotations

import asyncio
import zlib

from receiver.errors import OutboundError, UnusableAddress
from receiver.outbound.client import Client
from receiver.outbound.decompression import compression, decompressor
from receiver.providers.types import Request, Response, Unavailable

MAX_BYTES = 4 * 1024 * 1024
"""The longest response that is accepted, compressed and decompressed."""
MAX_SECONDS = 30.0
"""For the whole call, however slow the response: a poll must end well within its lease."""


async def call_api(client: Client, request: Request) -> Response:
    """Send the request, read the response.

    Raises:
        Unavailable: no connection, no complete response in time, or a response that is too long.
        UnusableAddress: the guard refuses the address (including `BlockedAddress`).
    """
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **request.headers}
    try:
        async with (
            asyncio.timeout(MAX_SECONDS),
            client.send(request.method, request.url, headers, request.body) as reply,
        ):
            raw = await reply.read(MAX_BYTES + 1)
            body = _decompressed(raw, reply.header("content-encoding"), MAX_BYTES + 1)
            if max(len(raw), len(body)) > MAX_BYTES:
                raise Unavailable(
                    f"The provider's response is too long: more than {MAX_BYTES} bytes.", reason="provider_too_long"
                )
            return Response(reply.status, reply.lines(), body)
    except TimeoutError as error:
        raise Unavailable(f"The provider did not respond in time ({MAX_SECONDS:g} s).", reason="timeout") from error
    except UnusableAddress:
        raise
    except OutboundError as error:
        raise Unavailable(str(error), reason=error.reason) from error


def _decompressed(body: bytes, label: str | None, limit: int) -> bytes:
    """The body, decompressed if it was compressed without our request; unchanged if that is damaged.

    The bytes decide: a proxy often leaves the header on a body that it has decompressed, and the header may be missing.
    JSON never begins like gzip.

    Args:
        label: the `Content-Encoding`.
        limit: the maximum number of decompressed bytes.
    """
    encoding = "gzip" if body.startswith(b"\x1f\x8b") else compression(label)
    if encoding is None or body.lstrip().startswith((b"{", b"[")):
        return body
    try:
        return decompressor(body, encoding).decompress(body, limit)
    except zlib.error:
        return body
