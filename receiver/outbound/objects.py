"""Audio in an object store: S3, Google Cloud Storage, Azure, or this process's memory in tests.

A module of its own, so that the library for object stores is only loaded if one is used.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obstore import exceptions, sign_async
from obstore.store import AzureStore, GCSStore, S3Store, from_url

from receiver.errors import NoSignedUrl, NotFound, StorageFailed
from receiver.model.redact import truncate
from receiver.outbound.storage_types import PIECE, Stored, no_action
from receiver.outbound.threads import in_thread, opened

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CHUNK = 5 << 20
_CONCURRENCY = 2
"""Parts of an upload: size in bytes (the minimum of all stores), and how many are uploaded at once.

Memory measured with a file of 500 MB: 11 MB over idle if the file is passed in chunks as below, 37 MB if obstore reads
it from its path, 58 MB with parts of 8 MiB from a path.
"""

_ERRORS = (exceptions.BaseError, OSError, ValueError)


class ObjectStorage:
    """Audio under one prefix of an object store.

    Args:
        url: such as `s3://bucket/prefix`; without credentials.

    Raises:
        ValueError: the URL or the store's configuration is invalid.
    """

    def __init__(self, url: str) -> None:
        self.folder: Path | None = None
        self.url = url.rstrip("/") if not url.endswith("://") else url
        try:
            if url.lower().startswith("memory:"):
                self._store: ObjectStore = from_url("memory://")
            else:
                # No client options: with any, obstore ignores the environment's, such as AWS_ALLOW_HTTP for MinIO.
                self._store = from_url(url, retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=60)})
        except _ERRORS as error:
            raise ValueError(f"the audio storage {self.url} cannot be used: {_error_text(error)}") from error

    async def publish(
        self, part: Path, name: str, content_type: str, on_stored: Callable[[], None] = no_action
    ) -> Stored:
        """See `Storage.publish`. An object appears when its upload is complete; then its size is checked."""
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
            raise StorageFailed(f"The audio could not be stored in {self.url}: {_error_text(error)}.") from error
        if stored != size:
            raise StorageFailed(f"{self._prefix}{name} has {stored} bytes after an upload of {size} bytes.")
        await in_thread(on_stored)
        return Stored(f"{self._prefix}{name}", None)

    async def stream(self, address: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.stream`. One request for each chunk, since one long response exceeds the store's time limit."""
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
            raise StorageFailed(f"{address} cannot be read: {_error_text(error)}.") from error

    async def signed_url(self, address: str, seconds: float) -> str:
        """See `Storage.signed_url`. Most stores sign without a request, so the object need not exist."""
        name = self._name(address)
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            raise NoSignedUrl(f"The audio storage {self.url} has no signed addresses.")
        try:
            return await sign_async(self._store, "GET", name, timedelta(seconds=seconds))
        except _ERRORS as error:
            raise StorageFailed(f"{address} cannot be signed: {_error_text(error)}.") from error

    def writable(self) -> str | None:
        """See `Storage.writable`."""
        try:
            self._store.put(".writable", b"test")
        except _ERRORS as error:
            return f"The audio storage {self.url} cannot be written to: {_error_text(error)}."
        with suppress(*_ERRORS):  # a store may allow writing and not deleting, which is enough: audio is never deleted
            self._store.delete(".writable")
        return None

    async def size(self, address: str) -> int | None:
        """See `Storage.size`."""
        try:
            return (await self._store.head_async(self._name(address)))["size"]
        except FileNotFoundError:
            return None
        except _ERRORS as error:
            raise StorageFailed(f"{address} cannot be read: {_error_text(error)}.") from error

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


def _error_text(error: Exception) -> str:
    """The first line of the library's message, without the queries of URLs, which may contain a signature."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return truncate(re.sub(r"\?\S*", "", first).rstrip("."), 300)
