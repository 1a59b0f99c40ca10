"""A partial download: its bytes, the metadata of the complete file, and the lock of the fetch that uses it.

Beside `<name>.part` is a sidecar `<name>.part.json`, written only after the bytes that it counts are synced to the
disk. So a resumed fetch, in this process or the next, never relies on bytes that a crash has lost.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog

from receiver.errors import AudioDelayed
from receiver.outbound.beneath import FILE_MODE, made_folder, open_file, opened_folder

logger = structlog.get_logger(__name__)

IN_PROGRESS_SECONDS = 5.0
"""How long to wait before the next attempt at a file that another fetch is downloading."""


@dataclass(frozen=True, slots=True)
class PublishedChecksums:
    """The checksums that a storage published for the complete file, as lower-case hex; None if it did not."""

    crc32c: str | None = None
    md5: str | None = None

    def over(self, other: PublishedChecksums) -> PublishedChecksums:
        """These, with those of `other` where unknown."""
        return PublishedChecksums(self.crc32c or other.crc32c, self.md5 or other.md5)


@dataclass(frozen=True, slots=True)
class ResumeMetadata:
    """The metadata of the complete file in the first response.

    Attributes:
        validator: a strong `ETag`, or a `Last-Modified` as reliable, for `If-Range`; None: it cannot be resumed.
        total: bytes of the complete file; None if unknown.
        origin: who responded.
        published: the storage's checksums.
        encoding: the compression of the bytes, which was not requested; None for none.
        document: the media type of a file that was accepted as a document; None for audio.
    """

    validator: str | None = None
    total: int | None = None
    origin: str = ""
    published: PublishedChecksums = field(default_factory=PublishedChecksums)
    encoding: str | None = None
    document: str | None = None


class PartialDownload:
    """An open, locked part file. Every method blocks, and raises OSError if the disk fails.

    Attributes:
        path: its path.
        size: how many valid bytes it has, including those in memory.
        metadata: of the complete file.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self.size = 0
        self.metadata = ResumeMetadata()
        self._handle = handle
        self._sidecar = path.with_name(path.name + ".json")
        self._saved = 0
        self._metadata_saved = True
        self._buffered = bytearray()
        self._may_have_sidecar = True
        self._load()

    @classmethod
    def open(cls, path: Path) -> PartialDownload:
        """Open or make the part at `path`, and lock it.

        Raises:
            AudioDelayed: another fetch has locked it (`reason` `fetch_in_progress`).
            OSError: the spool folder cannot be used.
        """
        spool = path.parent
        while True:
            with made_folder(spool.parent, [spool.name]) as folder:
                handle = open_file(path.name, os.O_RDWR | os.O_CREAT, folder, spool)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its previous owner may have published it between our opening and our locking it.
                if _same_file(path, handle):
                    return cls(path, handle)
            except BlockingIOError:
                os.close(handle)
                raise AudioDelayed(
                    "Another fetch of the same audio is in progress.",
                    after=IN_PROGRESS_SECONDS,
                    reason="fetch_in_progress",
                ) from None
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    @property
    def complete(self) -> bool:
        """Whether it has all bytes of the complete file."""
        return self.metadata.total is not None and 0 < self.size == self.metadata.total

    @property
    def unsaved(self) -> int:
        """Bytes that a crash would lose."""
        return self.size - self._saved

    @property
    def buffered(self) -> int:
        """Bytes that are in memory only."""
        return len(self._buffered)

    @property
    def closed(self) -> bool:
        """Whether the lock was released."""
        return self._handle < 0

    @property
    def in_memory(self) -> bytes | None:
        """All bytes, if none were written yet; else None."""
        return bytes(self._buffered) if self.buffered == self.size else None

    def buffer(self, data: bytes | bytearray) -> None:
        """Append in memory; does not block. Written by the next operation on the file, at the latest by `close`."""
        self._buffered += data
        self.size += len(data)

    def write(self, data: bytes | bytearray) -> None:
        """Append."""
        self.flush()
        self._append(data)

    def flush(self) -> None:
        """Write the bytes in memory."""
        buffered, self._buffered = self._buffered, bytearray()
        self.size -= len(buffered)
        self._append(buffered)

    def _append(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._handle, view, self.size)
            if written == 0:
                raise OSError(errno.EIO, "no bytes were written")
            self.size += written
            view = view[written:]

    def head(self, size: int) -> bytes:
        """The first `size` bytes."""
        self.flush()
        return os.pread(self._handle, min(size, self.size), 0)

    def save(self) -> None:
        """Sync the bytes to the disk, and record them in the sidecar."""
        self.flush()
        if self.size == 0 or (self.size == self._saved and self._metadata_saved):
            return
        os.fdatasync(self._handle)
        fresh = self._sidecar.with_name(self._sidecar.name + ".new")
        with open(fresh, "w", encoding="utf-8", opener=_open_sidecar) as sidecar:  # Path.open takes no opener
            sidecar.write(json.dumps({"have": self.size, **asdict(self.metadata)}))
        self._may_have_sidecar = True
        fresh.replace(self._sidecar)
        self._saved, self._metadata_saved = self.size, True

    def reset(self, metadata: ResumeMetadata | None = None) -> None:
        """Discard the bytes; begin another file with this metadata."""
        self._remove_sidecar()
        os.ftruncate(self._handle, 0)
        self._clear()
        self.metadata, self._metadata_saved = metadata or ResumeMetadata(), False

    def set_metadata(self, metadata: ResumeMetadata) -> None:
        """Set the metadata of the same file, or of one without bytes so far; does not block."""
        self.metadata, self._metadata_saved = metadata, False

    def discard(self) -> None:
        """Remove what is left in the spool. A file that was published from here is not changed."""
        self._clear()
        self._remove_sidecar()
        if _same_file(self.path, self._handle):
            self.path.unlink()

    def close(self) -> None:
        """Release the lock; keep the bytes for the next fetch, if there are any."""
        try:
            if self.size:
                self.save()
            else:
                self.discard()
        except OSError as error:
            logger.warning("audio.partial_not_saved", file=self.path.name, error=error.strerror)
        finally:
            self._release()

    def finish(self) -> None:
        """Discard what is left, and release the lock."""
        try:
            self.discard()
        finally:
            self._release()

    def _remove_sidecar(self) -> None:
        if self._may_have_sidecar:
            self._sidecar.unlink(missing_ok=True)
            self._may_have_sidecar = False

    def _release(self) -> None:
        handle, self._handle = self._handle, -1
        os.close(handle)

    def _clear(self) -> None:
        self._buffered.clear()
        self.size = self._saved = 0

    def _load(self) -> None:
        """Continue where the last fetch ended, if its sidecar matches the bytes; otherwise start again."""
        try:
            sidecar = json.loads(self._sidecar.read_bytes())
            published = PublishedChecksums(**sidecar["published"])
            metadata = ResumeMetadata(
                sidecar["validator"],
                sidecar["total"],
                sidecar["origin"],
                published,
                sidecar.get("encoding"),
                sidecar.get("document"),
            )
            size = sidecar["have"]
            fits = type(size) is int and 0 < size <= os.fstat(self._handle).st_size
        except FileNotFoundError:
            fits = self._may_have_sidecar = False
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            self.reset()
            return
        os.ftruncate(self._handle, size)
        self.size = self._saved = size
        self.metadata = metadata


def sweep(spool: Path, older_than: float, now: float) -> int:
    """Remove parts that no fetch has changed for `older_than` seconds, and sidecars without a part. Blocks.

    Args:
        now: unix seconds by the process's clock: just after the machine's clock was set forward, no file looks old.

    Returns:
        How many parts were removed.
    """
    removed = 0
    with suppress(FileNotFoundError), opened_folder(spool.parent, [spool.name]):
        pass  # a link is refused
    for path in sorted(spool.glob("*.part")):
        try:
            if now - path.stat().st_mtime < older_than:
                continue
            part = PartialDownload.open(path)
        except (FileNotFoundError, AudioDelayed):
            continue  # its fetch has just ended, or is in progress
        try:
            part.discard()
            removed += 1
        finally:
            part.close()
    for sidecar in spool.glob("*.part.json*"):
        if (
            now - sidecar.stat().st_mtime >= older_than
            and not sidecar.with_name(sidecar.name.partition(".json")[0]).exists()
        ):
            sidecar.unlink(missing_ok=True)
    return removed


def _open_sidecar(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)


def _same_file(path: Path, handle: int) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    here = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
