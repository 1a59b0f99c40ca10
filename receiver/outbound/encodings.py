"""The meaning of a `Content-Encoding` on audio. Pure.

Identity is requested, and storages send labels all the same. Many labels name no compression (`aws-chunked`,
`utf-8`, `binary`, `none` are seen): only gzip and deflate (RFC 9110, 8.4.1) mean anything here, and the bytes decide.
"""

from __future__ import annotations

import zlib

from receiver.outbound.formats import SNIFF_BYTES, Format, sniff


def compression(label: str | None) -> str | None:
    """The compression that a `Content-Encoding` names: `gzip` or `deflate`; None for anything else, or for several."""
    words = [word.strip().lower().removeprefix("x-") for word in (label or "").split(",")]
    found = [word for word in words if word in ("gzip", "deflate")]
    return found[0] if len(found) == 1 else None


def sniff_through(head: bytes, encoding: str | None) -> Format | None:
    """As `sniff`, also for audio under this compression."""
    return sniff(head) or (None if encoding is None else sniff(beginning(head, encoding)))


def beginning(head: bytes, encoding: str) -> bytes:
    """The decompressed beginning of a file; empty if it is not compressed so."""
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
