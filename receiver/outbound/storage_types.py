"""The interface of the storages for complete audio files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PIECE = 1 << 20
"""Bytes of a chunk when a stored file is read."""


def no_action() -> None:
    """The default for `on_stored`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored file: its address in the storage and, in a local folder, its path.

    The address is the argument of `stream` and `size`: an absolute path, or a URL such as
    `s3://bucket/prefix/aitts/job.wav`.
    """

    address: str
    path: Path | None


class Storage(Protocol):
    """Stores complete files."""

    url: str
    """The storage's own address, without credentials."""
    folder: Path | None
    """The local folder; None for an object store."""

    async def publish(
        self, part: Path, name: str, content_type: str, on_stored: Callable[[], None] = no_action
    ) -> Stored:
        """Store the complete file `part` as `name` (relative, `/` between folders), durably; replace an existing file.

        An incomplete file is never visible as `name`. `part` may be removed.

        Args:
            on_stored: called in a worker thread once the file is stored; may block.

        Raises:
            StorageFailed: it could not be stored.
        """

    def stream(self, address: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Read a stored file, from byte `start` up to, not including, `end`; in chunks of up to `PIECE` bytes.

        Raises:
            NotFound: it does not exist, or is not an address of this storage.
            StorageFailed: it cannot be read.
        """

    async def size(self, address: str) -> int | None:
        """Bytes of a stored file; None if it does not exist.

        Raises:
            NotFound: not an address of this storage.
            StorageFailed: the storage cannot be read.
        """

    async def signed_url(self, address: str, seconds: float) -> str:
        """An address from which everybody can read a stored file for so many seconds, up to a week.

        Raises:
            NoSignedUrl: the storage has no such addresses.
            NotFound: not an address of this storage.
            StorageFailed: the storage cannot sign.
        """

    def writable(self) -> str | None:
        """Try to write; blocks. The problem in a sentence; None without one."""
