"""A WAV of any size that is computed while it is sent, for benchmarks that must not hold it in memory."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator
from functools import lru_cache

HEADER = 44
BLOCK = 64 * 1024
SAMPLE_RATE = 24_000
CHUNK_BLOCKS = 4


class GeneratedWav:
    """A mono 16-bit WAV of exactly `size` bytes, header included: a tone, the same every time.

    Each block of 64 KiB begins with its own number, so that no two blocks are equal and a test detects a download that
    resumes at the wrong place. `size` is even, at least 44 and below 4 GiB (WAV's limit).
    """

    suffix = ".wav"
    content_type = "audio/wav"

    def __init__(self, *, bytes: int, sample_rate: int = SAMPLE_RATE) -> None:
        if bytes < HEADER or bytes % 2 or bytes >= 2**32:
            message = f"bytes must be an even number from 44 to below 4 GiB, not {bytes}"
            raise ValueError(message)
        self.size = bytes
        self.sample_rate = sample_rate
        self._header = _header(bytes - HEADER, sample_rate)
        self._tone = _tone()

    @property
    def etag(self) -> str:
        """A strong entity tag, with its quotes."""
        name = f"generated:{self.size}:{self.sample_rate}".encode()
        return f'"{hashlib.sha256(name).hexdigest()[:32]}"'

    def checksums(self) -> dict[str, str]:
        """Return none: computing them would read the whole file."""
        return {}

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to, not including, `stop`, in chunks of at most 256 KiB."""
        if start < HEADER:
            yield self._header[start : min(stop, HEADER)]
        at, end = max(start - HEADER, 0), stop - HEADER
        while at < end:
            block = at // BLOCK
            chunk = b"".join(self._block(block + n) for n in range(CHUNK_BLOCKS))
            offset = at - block * BLOCK
            chunk = chunk[offset : offset + end - at]
            yield chunk
            at += len(chunk)

    def sha256(self) -> str:
        """Return the SHA-256 of all bytes, in hex; computed chunk by chunk."""
        digest = hashlib.sha256()
        for chunk in self.chunks(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()

    def _block(self, number: int) -> bytes:
        return struct.pack("<Q", number) + self._tone


def _header(data_bytes: int, sample_rate: int) -> bytes:
    layout = "<4sI4s4sIHHIIHH4sI"
    fmt = (16, 1, 1, sample_rate, sample_rate * 2, 2, 16)
    return struct.pack(layout, b"RIFF", 36 + data_bytes, b"WAVE", b"fmt ", *fmt, b"data", data_bytes)


@lru_cache(maxsize=1)
def _tone() -> bytes:
    samples = (BLOCK - 8) // 2
    wave = (round(8000 * math.sin(2 * math.pi * 440 * n / SAMPLE_RATE)) for n in range(samples))
    return struct.pack(f"<{samples}h", *wave)
