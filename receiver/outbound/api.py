"""Ask a provider's API: one small request, one small answer, under the same guard as everything that leaves.

No redirect is followed here: an API that redirects its calls would have us carry the key elsewhere.
"""

from __future__ import annotations

import asyncio
import zlib

from receiver.errors import OutboundError, UnusableAddress
from receiver.outbound.client import Client
from receiver.outbound.decompression import compression, decompressor
from receiver.providers.types import Request, Response, Unavailable

MAX_BYTES = 4 * 1024 * 1024
"""An answer longer than this is no status, compressed or not."""
MAX_SECONDS = 30.0
"""For the whole of it, however slowly it drips in: a poll must end well within its lease."""


async def ask(client: Client, request: Request) -> Response:
    """Send the request, read the answer.

    Raises:
        Unavailable: no connection, no whole answer in time, or an answer that is too long.
        UnusableAddress: the guard will not connect there (`BlockedAddress` among them).
    """
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **request.headers}
    try:
        async with (
            asyncio.timeout(MAX_SECONDS),
            client.send(request.method, request.url, headers, request.body) as reply,
        ):
            raw = await reply.read(MAX_BYTES + 1)
            body = _plain(raw, reply.header("content-encoding"), MAX_BYTES + 1)
            if max(len(raw), len(body)) > MAX_BYTES:
                raise Unavailable("The provider's answer is too long to be a status.", reason="provider_too_long")
            return Response(reply.status, reply.lines(), body)
    except TimeoutError as error:
        raise Unavailable("The provider's answer was not there in time.", reason="timeout") from error
    except UnusableAddress:
        raise
    except OutboundError as error:
        raise Unavailable(str(error), reason=error.reason) from error


def _plain(body: bytes, label: str | None, limit: int) -> bytes:
    """An answer without unrequested compression; unchanged where it has none, or a damaged one.

    The bytes decide: a proxy often leaves the label on a body that it has decompressed, and the label may be missing.
    No JSON begins as gzip does.

    Args:
        label: the `Content-Encoding`.
        limit: no more bytes than these are decompressed.
    """
    encoding = "gzip" if body.startswith(b"\x1f\x8b") else compression(label)
    if encoding is None or body.lstrip().startswith((b"{", b"[")):
        return body
    try:
        return decompressor(body, encoding).decompress(body, limit)
    except zlib.error:
        return body
