"""Where whole audio files go: a local folder, or an object store.

The local folder is ours and not obstore's: obstore 0.12 writes beside the target and renames, but never calls fsync
(traced), and has no option to; after a power cut a recorded artifact could be an empty file.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

PIECE = 1 << 20
"""Bytes of one piece when a file is read back."""

REMOTE_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "memory")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in its place: its address in the storage and, in a local folder, its path."""

    address: str
    path: Path | None


class Storage(Protocol):
    """A place for whole files."""

    url: str
    """The storage's own address, without credentials."""

    async def publish(self, part: Path, name: str, content_type: str) -> Stored:
        """Put the whole file `part` under `name` (relative, `/` between folders), durably, replacing what is there.

        Nobody ever sees half a file under `name`. `part` may be gone afterwards.

        Raises:
            AudioError: it could not be stored (`reason` `storage_failed`).
        """

    def stream(self, address: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Read a stored file back, from byte `start` up to, not including, `end`; in bounded pieces.

        Raises:
            NotFound: it is not there, or not an address of this storage.
            AudioError: it cannot be read (`reason` `storage_failed`).
        """

    def writable(self) -> str | None:
        """Try to write; blocks. A sentence about the problem, or None if there is none."""


def open_storage(url: str, base: Path) -> Storage:
    """The storage that a setting names.

    Args:
        url: a folder (`data/audio`, `/srv/audio`, `file:///srv/audio`), or `s3://bucket/prefix`, `gs://…`, `az://…`,
            `memory://`. Credentials of an object store come from its usual environment variables.
        base: what a relative folder is relative to.

    Raises:
        ValueError: in words, what is wrong with the setting.
    """
    from receiver.outbound.folder import LocalFolder

    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url):
        if not url.strip() or "\0" in url:
            raise ValueError("the audio storage is empty; name a folder or an address such as s3://bucket/prefix")
        return LocalFolder(Path(base, Path(url).expanduser()))
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise ValueError("a file address has three slashes and an absolute path: file:///srv/audio")
        return LocalFolder(Path(unquote(parts.path)))
    if scheme not in REMOTE_SCHEMES:
        raise ValueError(f"{scheme}:// is no audio storage; use a folder, or one of {', '.join(REMOTE_SCHEMES)}")
    if "@" in parts.netloc and scheme not in ("abfs", "abfss"):
        raise ValueError(f"no credentials in the {scheme}:// address; they belong in the environment")
    if parts.query or parts.fragment:
        raise ValueError(f"the {scheme}:// address has a query; options belong in the environment")
    from receiver.outbound.objects import ObjectStorage

    return ObjectStorage(url)
