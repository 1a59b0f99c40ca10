"""Verifies a complete file: the storage's checksums, our SHA-256, its format, its facts.

Wire facts: `x-goog-hash: crc32c=<base64>,md5=<base64>`, possibly over several header lines, is of the whole stored
object, also in the response to a range (cloud.google.com, "XML API headers"); `Content-MD5` is of the body of its
response (RFC 1864), so in the response to a range it is not of the complete file.
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

from receiver.errors import AudioError, AudioRefused
from receiver.outbound.client import HttpResponse
from receiver.outbound.decompression import compression
from receiver.outbound.documents import MAX_DOCUMENT_BYTES, read_document
from receiver.outbound.formats import Facts, Format, read_facts, sniff_file
from receiver.outbound.part import PartialDownload, PublishedChecksums
from receiver.outbound.threads import in_thread, opened

logger = structlog.get_logger(__name__)

_PIECE = 256 << 10
STEP_BYTES = 32 << 20
"""Bytes hashed between two checks for a cancellation."""


def published_checksums(reply: HttpResponse) -> PublishedChecksums:
    """Read the checksums in a 200 or 206 response. An invalid one is logged and ignored."""
    crc32c = md5 = None
    # The checksum is of the bytes as they are stored. If they were compressed or decompressed for the response
    # (cloud.google.com, "Transcoding of gzip-compressed files"), it does not apply to the bytes sent.
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
    return PublishedChecksums(crc32c, md5)


def _hex(encoded: str, size: int) -> str | None:
    try:
        value = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != size:
        logger.warning("audio.checksum_unreadable", bytes=size)
        return None
    return value.hex()


class Checksums:
    """Computes a file's SHA-256, and the checksums that its storage published, in steps. Blocks."""

    def __init__(self, file: IO[bytes], expected: PublishedChecksums) -> None:
        self._file = file
        self._expected = expected
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if expected.md5 else None
        self._crc32c = google_crc32c.Checksum() if expected.crc32c else None  # type: ignore[no-untyped-call]

    def update(self) -> bool:
        """Hash the next `STEP_BYTES` bytes; False at the file's end.

        Raises:
            OSError: the file cannot be read.
        """
        checksums = [checksum for checksum in (self._sha256, self._md5, self._crc32c) if checksum is not None]
        for _ in range(STEP_BYTES // _PIECE):
            piece = self._file.read(_PIECE)
            if not piece:
                return False
            for checksum in checksums:
                checksum.update(piece)
        return True

    def result(self) -> str:
        """The SHA-256 as lower-case hex.

        Raises:
            AudioError: a published checksum does not match (`reason` `checksum_mismatch`).
        """
        expected = self._expected
        for name, made, wanted in (("CRC32C", self._crc32c, expected.crc32c), ("MD5", self._md5, expected.md5)):
            if made is not None and made.digest().hex() != wanted:
                raise AudioError(
                    f"The audio's {name} is {made.digest().hex()}, but its storage published {wanted}; "
                    "it is fetched again.",
                    reason="checksum_mismatch",
                )
        return self._sha256.hexdigest()


async def verify_checksums(path: Path, expected: PublishedChecksums) -> str:
    """Read the whole file once, off the event loop, and compare.

    Returns:
        The SHA-256 as lower-case hex.

    Raises:
        AudioError: as `Checksums.result`.
        OSError: the file cannot be read.
    """
    async with opened(path) as file:
        checksums = Checksums(file, expected)
        while await in_thread(checksums.update):
            pass
    return checksums.result()


@dataclass(frozen=True, slots=True)
class VerifiedFile:
    """A verified file: the SHA-256 as lower-case hex, its length in bytes, its format, its facts."""

    sha256: str
    size: int
    format: Format
    facts: Facts


async def hash_large_file(part: PartialDownload, published_checksums: PublishedChecksums) -> str | None:
    """The SHA-256 of a large file, hashed in steps, so that a cancellation takes effect; None for a smaller file.

    Raises:
        AudioError: a published checksum does not match (`reason` `checksum_mismatch`).
        OSError: the file cannot be read or written.
    """
    if part.size <= STEP_BYTES:
        return None
    await in_thread(part.flush)
    return await verify_checksums(part.path, published_checksums)


def verify_file(
    part: PartialDownload, published_checksums: PublishedChecksums, sha256: str | None, document: str | None
) -> VerifiedFile:
    """Verify the file. Blocks.

    Args:
        published_checksums: its storage's checksums.
        sha256: the result of `hash_large_file`.
        document: the media type of a file that was accepted as a document; None for audio.

    Raises:
        AudioError: a published checksum does not match (`checksum_mismatch`), or it is not audio (`not_audio`), and no
            document either where `document` allows one.
        AudioRefused: it is a document that is too large.
        OSError: the file cannot be read or written.
    """
    data = part.in_memory
    part.flush()
    if sha256 is None:
        with part.path.open("rb", buffering=0) if data is None else BytesIO(data) as file:
            checksums = Checksums(file, published_checksums)
            while checksums.update():
                pass
        sha256 = checksums.result()
    format = sniff_file(part.path)
    if format is None and document is not None:
        if part.size > MAX_DOCUMENT_BYTES:
            raise AudioRefused(
                f"The fetched document has {part.size} bytes, and at most {MAX_DOCUMENT_BYTES} are stored.",
                reason="audio_too_large",
            )
        found = read_document(part.path.read_bytes(), document)
        if found is not None:
            return VerifiedFile(sha256, part.size, found, Facts())
        raise AudioError("The fetched file is neither audio nor a document.", reason="not_audio")
    if format is None:
        raise AudioError("The fetched file is not audio; it is fetched again.", reason="not_audio")
    return VerifiedFile(sha256, part.size, format, read_facts(part.path, format))
