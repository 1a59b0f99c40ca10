"""The audio that jobs get: short recordings of our own that are shipped beside this file."""

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
PIECE = 64 * 1024
SUFFIXES = {"wav": ".wav", "mp3": ".mp3", "ogg_opus": ".ogg"}
CONTENT_TYPES = {".wav": "audio/wav", ".mp3": "audio/mpeg", ".ogg": "audio/ogg"}


class Audio(Protocol):
    """What storage can serve."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def suffix(self) -> str:
        """The ending of its name, with the dot."""

    @property
    def content_type(self) -> str:
        """Its media type."""

    @property
    def etag(self) -> str:
        """A strong entity tag, with its quotes."""

    def checksums(self) -> dict[str, str]:
        """Base64 `md5` and `crc32c` of all bytes, as far as they are cheap to know."""

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to, not including, `stop`, in pieces."""


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
        """The ending of its name, with the dot."""
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
        """Base64 `md5` and `crc32c` of all bytes."""
        return {
            "crc32c": base64.b64encode(self._crc32c).decode(),
            "md5": base64.b64encode(self._md5).decode(),
        }

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to, not including, `stop`, in pieces."""
        for at in range(start, stop, PIECE):
            yield self.data[at : min(at + PIECE, stop)]


class Library:
    """The shipped recordings by output format."""

    def __init__(self, folder: Path = AUDIO_FOLDER) -> None:
        self._clips = {
            output_format: tuple(Clip(path.name, path.read_bytes()) for path in sorted(folder.glob(f"*{suffix}")))
            for output_format, suffix in SUFFIXES.items()
        }

    def clips(self, output_format: str) -> tuple[Clip, ...]:
        """All recordings of `wav`, `mp3` or `ogg_opus`."""
        return self._clips[output_format]

    def pick(self, output_format: str, number: int) -> Clip:
        """The recording for the `number`-th job: consecutive jobs get different ones."""
        clips = self._clips[output_format]
        return clips[number % len(clips)]
