"""Reads audio from a provider while it is being made: from a one-time address, which is a secret.

The bytes are passed on as they come and are neither stored nor verified; the job's durable audio is fetched as always.
Redirects are not followed, as for the API. No message has more of the address than its host, because the path may be
what makes it secret.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from receiver.errors import AudioError, BlockedAddress, OutboundError
from receiver.outbound.client import Client, HttpResponse
from receiver.outbound.formats import SNIFF_BYTES, sniff
from receiver.outbound.redirects import REDIRECTS

OPEN_SECONDS = 30.0
"""From the request to the first bytes. Between two chunks the client's own time limit applies, of the same length."""
MAX_SECONDS = 3600.0
"""For a whole stream, however slow it is made or read."""
_MIN_SNIFF_BYTES = 64
_MEDIA_TYPE = re.compile(r"audio/[a-z0-9.+-]{1,60}", re.ASCII)
_MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "mpeg": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "ogg_opus": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "webm": "audio/webm",
}
"""By a service's word for the format of a stream, in lower case."""
_ANY_AUDIO = "application/octet-stream"


class StreamFailed(AudioError):
    """A stream could not be opened, or broke. The job is not affected."""

    reason = "stream_failed"


@dataclass(frozen=True, slots=True)
class LiveAudio:
    """An open stream, of which the first bytes have been received.

    Attributes:
        content_type: the media type: by the bytes, else by what the service says.
        chunks: the audio as it is received. Raises `StreamFailed` if it breaks, or exceeds a limit.
    """

    content_type: str
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def open_live_audio(
    client: Client, url: str, headers: Mapping[str, str], *, format: str | None, max_bytes: int
) -> AsyncIterator[LiveAudio]:
    """Request the audio; the connection is closed with the context.

    Args:
        headers: credentials for the origin of `url`.
        format: the service's word for the format of the stream.
        max_bytes: the most that is accepted.

    Raises:
        StreamFailed: it cannot be opened; the `reason` says why.
    """
    host = _host(url)
    lines = {"Accept": "audio/*, */*;q=0.1", "Accept-Encoding": "identity", **headers}
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                reply = await stack.enter_async_context(client.send("GET", url, lines))
                _check_head(reply, host, max_bytes)
                chunks = _bounded(reply, host, max_bytes)
                first = await _first_bytes(chunks)
        except TimeoutError:
            raise StreamFailed(
                f"The stream of {host} has not begun within {OPEN_SECONDS:g} s.", reason="stream_timeout"
            ) from None
        except BlockedAddress as error:  # its message names the host only
            raise StreamFailed(f"The stream of {host} cannot be requested: {error}", reason=error.reason) from None
        except OutboundError as error:
            raise _broken(host, error) from None
        yield LiveAudio(_content_type(first, reply, host, format), _joined(first, chunks))


def _broken(host: str, error: OutboundError) -> StreamFailed:
    return StreamFailed(f"The stream of {host} broke: {error.reason}.", reason=error.reason)


def _check_head(reply: HttpResponse, host: str, max_bytes: int) -> None:
    if reply.status in REDIRECTS:
        raise StreamFailed(
            f"The stream of {host} redirects to another address; this is not followed.", reason="stream_redirected"
        )
    if reply.status != 200:
        hint = ": the address has expired, or was used before" if reply.status in (401, 403, 404, 410) else ""
        raise StreamFailed(f"{host} answers {reply.status} to the request for a stream{hint}.", reason="stream_refused")
    if (reply.content_length() or 0) > max_bytes:
        raise _too_long(host, max_bytes)


async def _bounded(reply: HttpResponse, host: str, max_bytes: int) -> AsyncIterator[bytes]:
    received, time = 0, asyncio.get_running_loop().time
    end = time() + MAX_SECONDS
    try:
        async for chunk in reply.chunks():
            received += len(chunk)
            if received > max_bytes:
                raise _too_long(host, max_bytes)
            if time() > end:
                raise StreamFailed(
                    f"The stream of {host} lasts longer than {MAX_SECONDS:g} s.", reason="stream_timeout"
                )
            if chunk:
                yield chunk
    except OutboundError as error:
        raise _broken(host, error) from None


def _too_long(host: str, max_bytes: int) -> StreamFailed:
    return StreamFailed(f"The stream of {host} is longer than {max_bytes} bytes.", reason="stream_too_long")


async def _first_bytes(chunks: AsyncIterator[bytes]) -> bytes:
    """Enough bytes to recognise the format, or all there are."""
    first = b""
    async for chunk in chunks:
        first += chunk
        if len(first) >= _MIN_SNIFF_BYTES:
            break
    return first


def _content_type(first: bytes, reply: HttpResponse, host: str, format: str | None) -> str:
    """The media type.

    Raises:
        StreamFailed: there is no audio: nothing at all, or a page or a document.
    """
    found = sniff(first[:SNIFF_BYTES])
    if found is not None:
        return found.content_type
    if not first or first.lstrip()[:1] in (b"<", b"{"):
        what = "an error document" if first else "nothing"
        raise StreamFailed(f"The stream of {host} has {what} instead of audio.", reason="stream_no_audio")
    declared = (reply.header("content-type") or "").partition(";")[0].strip().lower()
    if _MEDIA_TYPE.fullmatch(declared):
        return declared
    return _MEDIA_TYPES.get((format or "").lower(), _ANY_AUDIO)


async def _joined(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "an unnamed host"
    except ValueError:
        return "an unnamed host"
