"""The audio of jobs: short recordings of our own, installed beside this file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from .checksums import crc32c

AUDIO_FOLDER = Path(__file__).parent / "audio"
CHUNK_BYTES = 64 * 1024
SUFFIXES = {"wav": ".wav", "mp3": ".mp3", "ogg_opus": ".ogg"}
CONTENT_TYPES = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}


class Audio(Protocol):
    """Audio that the storage can serve."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def suffix(self) -> str:
        """The file name extension, with the dot."""

    @property
    def content_type(self) -> str:
        """Its media type."""

    @property
    def etag(self) -> str:
        """A strong entity tag, with its quotes."""

    def checksums(self) -> dict[str, str]:
        """Return base64 `md5` and `crc32c` of all bytes, if they are cheap to compute."""

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to, not including, `stop`, in chunks."""


@dataclass(frozen=True)
class Clip:
    """Audio held in memory."""

    name: str
    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    @property
    def suffix(self) -> str:
        """The file name extension, with the dot."""
        return Path(self.name).suffix

    @property
    def content_type(self) -> str:
        """Its media type."""
        return CONTENT_TYPES.get(self.suffix, "application/octet-stream")

    @cached_property
    def _md5(self) -> bytes:
        return hashlib.md5(self.data, usedforsecurity=False).digest()

    @cached_property
    def _crc32c(self) -> bytes:
        return crc32c(self.data).to_bytes(4, "big")

    @property
    def etag(self) -> str:
        """The MD5 in hex, as storage services use for plain uploads."""
        return f'"{self._md5.hex()}"'

    def checksums(self) -> dict[str, str]:
        """Return base64 `md5` and `crc32c` of all bytes."""
        return {
            "crc32c": base64.b64encode(self._crc32c).decode(),
            "md5": base64.b64encode(self._md5).decode(),
        }

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to, not including, `stop`, in chunks."""
        for at in range(start, stop, CHUNK_BYTES):
            yield self.data[at : min(at + CHUNK_BYTES, stop)]


class Library:
    """The recordings by output format."""

    def __init__(self, folder: Path = AUDIO_FOLDER) -> None:
        self._clips = {
            output_format: tuple(Clip(path.name, path.read_bytes()) for path in sorted(folder.glob(f"*{suffix}")))
            for output_format, suffix in SUFFIXES.items()
        }

    def pick(self, output_format: str, number: int) -> Clip:
        """Return the recording for job `number`; consecutive jobs get different ones."""
        clips = self._clips[output_format]
        return clips[number % len(clips)]
