"""Whether the bytes are the ones that the storage holds: its published checksums, and our own SHA-256.

Wire facts: `x-goog-hash: crc32c=<base64>,md5=<base64>`, possibly over several header lines, is of the whole stored
object, also in the answer to a range (cloud.google.com, "XML API headers"); `Content-MD5` is of the body of its
response (RFC 1864), so it says nothing about a whole of which a part was sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import google_crc32c
import structlog

from receiver.errors import AudioError
from receiver.outbound.client import Reply
from receiver.outbound.encodings import compression
from receiver.outbound.threads import in_thread, opened

logger = structlog.get_logger(__name__)

_PIECE = 256 << 10
STRETCH = 32 << 20
"""Bytes hashed between two looks at whether we are cancelled."""


@dataclass(frozen=True, slots=True)
class Published:
    """The checksums that a storage published for the whole file, as lower-case hex; None where it did not."""

    crc32c: str | None = None
    md5: str | None = None

    def over(self, other: Published) -> Published:
        """These, and `other`'s where these are unknown."""
        return Published(self.crc32c or other.crc32c, self.md5 or other.md5)


def published(reply: Reply) -> Published:
    """Read the checksums of a 200 or 206 reply. One that cannot be read is logged and passed over."""
    crc32c = md5 = None
    # The checksum is of the bytes as they are stored. Where they were compressed or decompressed on their way
    # (cloud.google.com, "Transcoding of gzip-compressed files"), we were sent others.
    stored, sent = (reply.header(name) for name in ("x-goog-stored-content-encoding", "content-encoding"))
    if compression(stored) == compression(sent):
        for item in (reply.header("x-goog-hash") or "").split(","):
            name, _, value = item.strip().partition("=")
            if name == "crc32c":
                crc32c = _hex(value, 4) or crc32c
            elif name == "md5":
                md5 = _hex(value, 16) or md5
    if reply.status == 200 and md5 is None and (content_md5 := reply.header("content-md5")):
        md5 = _hex(content_md5, 16)
    return Published(crc32c, md5)


def _hex(encoded: str, size: int) -> str | None:
    try:
        value = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != size:
        logger.warning("audio.checksum_unreadable", bytes=size)
        return None
    return value.hex()


class Sums:
    """A file's SHA-256, and the checksums that its storage published, made in stretches. Blocks."""

    def __init__(self, file: IO[bytes], expected: Published) -> None:
        self._file = file
        self._expected = expected
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if expected.md5 else None
        self._crc32c = google_crc32c.Checksum() if expected.crc32c else None  # type: ignore[no-untyped-call]

    def stretch(self) -> bool:
        """Take the next `STRETCH` bytes in; False at the file's end.

        Raises:
            OSError: the file cannot be read.
        """
        sums = [one for one in (self._sha256, self._md5, self._crc32c) if one is not None]
        for _ in range(STRETCH // _PIECE):
            piece = self._file.read(_PIECE)
            if not piece:
                return False
            for one in sums:
                one.update(piece)
        return True

    def result(self) -> str:
        """The SHA-256 as lower-case hex.

        Raises:
            AudioError: a published checksum does not hold (`reason` `checksum_mismatch`).
        """
        expected = self._expected
        for name, made, wanted in (("CRC32C", self._crc32c, expected.crc32c), ("MD5", self._md5, expected.md5)):
            if made is not None and made.digest().hex() != wanted:
                raise AudioError(
                    f"The audio's {name} is {made.digest().hex()}, and its storage says {wanted}; it is fetched again.",
                    reason="checksum_mismatch",
                )
        return self._sha256.hexdigest()


async def check(path: Path, expected: Published) -> str:
    """Read the whole file once, off the event loop, and compare.

    Returns:
        The SHA-256 as lower-case hex.

    Raises:
        AudioError: as `Sums.result`.
        OSError: the file cannot be read.
    """
    async with opened(path) as file:
        sums = Sums(file, expected)
        while await in_thread(sums.stretch):
            pass
    return sums.result()
