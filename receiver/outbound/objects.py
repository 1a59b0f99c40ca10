"""Audio in an object store: S3, Google Cloud Storage, Azure, or this process's memory in tests.

Apart from the local folder, so that the library that speaks to object stores is loaded only where one is used.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obstore import exceptions
from obstore.store import from_url

from receiver.errors import NotFound, StorageFailed
from receiver.model.redact import truncate
from receiver.outbound.stored import PIECE, Stored, nothing_more
from receiver.outbound.threads import in_thread, opened

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CHUNK = 5 << 20
_CONCURRENCY = 2
"""Parts of an upload: size in bytes (no store takes smaller ones), and how many are on their way at once.

Measured with a file of 500 MB: 11 MB over idle when the file is handed over in pieces as below, 37 MB when obstore
reads it from its path, 58 MB with parts of 8 MiB from a path.
"""

_ERRORS = (exceptions.BaseError, OSError, ValueError)


class ObjectStorage:
    """Audio under one prefix of an object store.

    Args:
        url: such as `s3://bucket/prefix`; without credentials.

    Raises:
        ValueError: the store cannot be used like that.
    """

    def __init__(self, url: str) -> None:
        self.folder: Path | None = None
        self.url = url.rstrip("/") if not url.endswith("://") else url
        try:
            if url.lower().startswith("memory:"):
                self._store: ObjectStore = from_url("memory://")
            else:
                # No client options: given any, obstore forgets the environment's, such as AWS_ALLOW_HTTP for a MinIO.
                self._store = from_url(url, retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=60)})
        except _ERRORS as error:
            raise ValueError(f"the audio storage {self.url} cannot be used: {_words(error)}") from error

    async def publish(
        self, part: Path, name: str, content_type: str, then: Callable[[], None] = nothing_more
    ) -> Stored:
        """See `Storage.publish`. An object appears when its upload is complete; its size is then asked for."""
        try:
            size = await in_thread(os.path.getsize, part)
            await self._store.put_async(
                name,
                part if size <= _CHUNK else _pieces(part),
                attributes={"Content-Type": content_type},
                chunk_size=_CHUNK,
                max_concurrency=_CONCURRENCY,
            )
            stored = (await self._store.head_async(name))["size"]
        except _ERRORS as error:
            raise StorageFailed(f"The audio could not be put into {self.url}: {_words(error)}.") from error
        if stored != size:
            raise StorageFailed(f"{self._prefix}{name} has {stored} bytes after an upload of {size}.")
        await in_thread(then)
        return Stored(f"{self._prefix}{name}", None)

    async def stream(self, address: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.stream`. Piece by piece, since one long answer runs into the store's time limit."""
        name = self._name(address)
        try:
            size = (await self._store.head_async(name))["size"]
            stop = size if end is None else min(end, size)
            while start < stop:
                piece = await self._store.get_range_async(name, start=start, end=min(start + PIECE, stop))
                start += len(piece)
                yield bytes(piece)
        except FileNotFoundError:
            raise NotFound(f"There is no object {address}.") from None
        except _ERRORS as error:
            raise StorageFailed(f"{address} cannot be read: {_words(error)}.") from error

    def writable(self) -> str | None:
        """See `Storage.writable`."""
        try:
            self._store.put(".writable", b"may we?")
        except _ERRORS as error:
            return f"The audio storage {self.url} cannot be written to: {_words(error)}."
        with suppress(*_ERRORS):  # a store may well let us write and not delete: we never delete audio
            self._store.delete(".writable")
        return None

    async def size(self, address: str) -> int | None:
        """See `Storage.size`."""
        try:
            return (await self._store.head_async(self._name(address)))["size"]
        except FileNotFoundError:
            return None
        except _ERRORS as error:
            raise StorageFailed(f"{address} cannot be read: {_words(error)}.") from error

    def _name(self, address: str) -> str:
        name = address.removeprefix(self._prefix)
        if name == address or not name:
            raise NotFound("That is not the address of an object in the audio storage.")
        return name

    @property
    def _prefix(self) -> str:
        return self.url if self.url.endswith("/") else self.url + "/"


async def _pieces(part: Path) -> AsyncIterator[bytes]:
    async with opened(part) as file:
        while piece := await in_thread(file.read, PIECE):
            yield piece


def _words(error: Exception) -> str:
    """The first line of the library's message, without the query of an address in it: that may be a signature."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return truncate(re.sub(r"\?\S*", "", first).rstrip("."), 300)
