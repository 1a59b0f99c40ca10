"""What every place for whole audio files offers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PIECE = 1 << 20
"""Bytes of one piece when a file is read back."""


def nothing_more() -> None:
    """What is done after a file is stored, where nothing is."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in its place: its address in the storage and, in a local folder, its path.

    The address is what `stream` and `size` take: the absolute path, or such as `s3://bucket/prefix/aitts/job.wav`.
    """

    address: str
    path: Path | None


class Storage(Protocol):
    """A place for whole files."""

    url: str
    """The storage's own address, without credentials."""
    folder: Path | None
    """The local folder, or None if it is none."""

    async def publish(
        self, part: Path, name: str, content_type: str, then: Callable[[], None] = nothing_more
    ) -> Stored:
        """Put the whole file `part` under `name` (relative, `/` between folders), durably, replacing what is there.

        Nobody ever sees half a file under `name`. `part` may be gone afterwards.

        Args:
            then: called in a worker thread once it is there; may block.

        Raises:
            StorageFailed: it could not be stored.
        """

    def stream(self, address: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Read a stored file back, from byte `start` up to, not including, `end`; in bounded pieces.

        Raises:
            NotFound: it is not there, or not an address of this storage.
            StorageFailed: it cannot be read.
        """

    async def size(self, address: str) -> int | None:
        """Bytes of a stored file; None if it is not there.

        Raises:
            NotFound: not an address of this storage.
            StorageFailed: the storage does not tell.
        """

    def writable(self) -> str | None:
        """Try to write; blocks. A sentence about the problem; None if it works."""
