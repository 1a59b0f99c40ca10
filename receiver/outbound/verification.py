"""Whether a whole file is what it should be: its storage's checksums, our SHA-256, its format, its facts.

Wire facts: `x-goog-hash: crc32c=<base64>,md5=<base64>`, possibly over several header lines, is of the whole stored
object, also in the answer to a range (cloud.google.com, "XML API headers"); `Content-MD5` is of the body of its
response (RFC 1864), so it says nothing about a whole of which a part was sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

import google_crc32c
import structlog

from receiver.errors import AudioError
from receiver.outbound.client import Reply
from receiver.outbound.decompression import compression
from receiver.outbound.formats import Facts, Format, read_facts, sniff_file
from receiver.outbound.part import PartialDownload, Published
from receiver.outbound.threads import in_thread, opened

logger = structlog.get_logger(__name__)

_PIECE = 256 << 10
STRETCH = 32 << 20
"""Bytes hashed between two looks at whether we are cancelled."""


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


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found: the SHA-256 as lower-case hex, the bytes, the format, the facts."""

    sha256: str
    size: int
    kind: Format
    facts: Facts


async def sums_of_large(part: PartialDownload, published: Published) -> str | None:
    """The SHA-256 of a file that is read in several steps, so that a cancellation is heard; None for a smaller one.

    Raises:
        AudioError: a published checksum does not hold (`reason` `checksum_mismatch`).
        OSError: the file cannot be read or written.
    """
    if part.have <= STRETCH:
        return None
    await in_thread(part.flush)
    return await check(part.path, published)


def examine(part: PartialDownload, published: Published, sha256: str | None) -> Examined:
    """Look at the file. Blocks.

    Args:
        published: its storage's checksums.
        sha256: what `sums_of_large` gave.

    Raises:
        AudioError: a published checksum does not hold (`checksum_mismatch`), or it is no audio (`not_audio`).
        OSError: the file cannot be read or written.
    """
    data = part.in_memory
    part.flush()
    if sha256 is None:
        with part.path.open("rb", buffering=0) if data is None else BytesIO(data) as file:
            sums = Sums(file, published)
            while sums.stretch():
                pass
        sha256 = sums.result()
    kind = sniff_file(part.path)
    if kind is None:
        raise AudioError("What was fetched is not audio; it is fetched again.", reason="not_audio")
    return Examined(sha256, part.have, kind, read_facts(part.path, kind))
