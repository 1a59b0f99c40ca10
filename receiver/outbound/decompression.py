"""The meaning of a `Content-Encoding` on audio, and the decompression of audio that was sent compressed.

We request identity, but storages send the header all the same. Many values name no compression (`aws-chunked`, `utf-8`,
`binary`, `none` occur): only gzip and deflate (RFC 9110, 8.4.1) have a meaning here, and the bytes decide.

The bytes are stored as sent until the download is complete, so that ranges and published checksums, which apply to the
bytes sent, stay valid. Then they are decompressed into a second file, within limits.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

from receiver.clock import Clock
from receiver.errors import AudioError, AudioRefused
from receiver.outbound.formats import SNIFF_BYTES, Format, sniff
from receiver.outbound.part import PartialDownload
from receiver.outbound.threads import in_thread, opened


def compression(label: str | None) -> str | None:
    """The compression that a `Content-Encoding` names: `gzip` or `deflate`; None for anything else, or for several."""
    words = [word.strip().lower().removeprefix("x-") for word in (label or "").split(",")]
    found = [word for word in words if word in ("gzip", "deflate")]
    return found[0] if len(found) == 1 else None


def sniff_through(head: bytes, encoding: str | None) -> Format | None:
    """Like `sniff`, also for audio that is compressed like this."""
    return sniff(head) or (None if encoding is None else sniff(decompressed_head(head, encoding)))


def decompressed_head(head: bytes, encoding: str) -> bytes:
    """The decompressed beginning of a file; empty if it is not compressed like this."""
    try:
        return decompressor(head, encoding).decompress(head, SNIFF_BYTES)
    except zlib.error:
        return b""


def decompressor(head: bytes, encoding: str) -> zlib._Decompress:
    """A decompressor for bytes that begin with `head`."""
    if encoding == "gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    # "deflate" is the zlib format, and some send the bare stream (RFC 9110, 8.4.1.2).
    wrapped = len(head) >= 2 and head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)


MAX_RATIO = 200
FREE_BYTES = 32 << 20
"""The output allowed for each input byte, after the free bytes: speech compresses to a half, a bomb to a thousandth."""
MAX_MEMBERS = 1000
"""Members that a gzip file may have."""
MAX_SECONDS = 120.0

_PIECE = 256 << 10
_STEP_BYTES = 8 << 20
"""Bytes read or written between two checks of the time and of cancellation."""


async def decompress(
    part: PartialDownload, plain: PartialDownload, encoding: str, max_bytes: int, clock: Clock
) -> None:
    """Decompress `part` into `plain`.

    Args:
        max_bytes: the largest file that is accepted, in bytes.
        clock: for the time limit.

    Raises:
        AudioRefused: it is larger than `max_bytes`, or expands more than audio can (`reason` `audio_too_large`).
        AudioError: it is not compressed like this, is cut off, or takes too long (`reason` `content_encoding`).
        OSError: a file cannot be read or written.
    """
    until = clock.monotonic() + MAX_SECONDS
    async with opened(part.path) as file:
        work = _Decompression(file, plain, encoding, max_bytes)
        while await in_thread(work.step):
            if clock.monotonic() > until:
                raise _undecodable(f"takes more than {MAX_SECONDS:g} s to decompress")


class _Decompression:
    def __init__(self, file: BinaryIO, plain: PartialDownload, encoding: str, max_bytes: int) -> None:
        self._file, self._plain, self._encoding, self._max_bytes = file, plain, encoding, max_bytes
        self._read_bytes, self._members, self._pending = 0, 0, b""
        self._stream: zlib._Decompress | None = None

    def step(self) -> bool:
        """Decompress the next bytes; False at the end."""
        read_until, write_until = self._read_bytes + _STEP_BYTES, self._plain.size + _STEP_BYTES
        while self._read_bytes < read_until and self._plain.size < write_until:
            if not self._pending and not self._read():
                if self._stream is None:
                    return False
                if not self._write(self._stream):  # all is read, but not all written
                    raise _undecodable("ends in the middle of the compressed data")
                continue
            stream = self._stream or self._next_member()
            if stream is None:
                return False
            self._write(stream)
        return True

    def _read(self) -> bool:
        self._pending = self._file.read(_PIECE)
        self._read_bytes += len(self._pending)
        return bool(self._pending)

    def _next_member(self) -> zlib._Decompress | None:
        """Begin the next gzip member; None if the rest is not one and is ignored."""
        if len(self._pending) < 2:  # too short to recognize
            more = self._file.read(_PIECE)
            self._pending, self._read_bytes = self._pending + more, self._read_bytes + len(more)
        if self._members and not (self._encoding == "gzip" and self._pending.startswith(b"\x1f\x8b")):
            return None
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise _undecodable(f"has more than {MAX_MEMBERS} gzip members")
        return decompressor(self._pending, self._encoding)

    def _write(self, stream: zlib._Decompress) -> bool:
        """Write the next decompressed bytes; False if there are none and the stream has not ended."""
        try:
            out = stream.decompress(self._pending, _PIECE)
        except zlib.error as error:
            raise _undecodable("is damaged or not compressed like this") from error
        self._stream, self._pending = (None, stream.unused_data) if stream.eof else (stream, stream.unconsumed_tail)
        self._plain.write(out)
        size, read = self._plain.size, self._read_bytes - len(self._pending)
        if size > self._max_bytes or (size > FREE_BYTES and size > MAX_RATIO * read):
            raise AudioRefused(
                f"The audio was sent as {self._encoding} and is larger than the limit of {self._max_bytes} bytes, or "
                f"more than {MAX_RATIO} times as large as the bytes sent; it is discarded.",
                reason="audio_too_large",
            )
        return bool(out) or stream.eof


def _undecodable(what: str) -> AudioError:
    return AudioError(f"The audio was sent compressed, which was not requested, and {what}.", reason="content_encoding")
