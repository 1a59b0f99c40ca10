"""A file that is not whole yet: its bytes, what is known of the whole, and the lock that makes it one fetch's own.

Beside `<name>.part` lies `<name>.part.json`, written only after the bytes that it counts are on the disk. So a resumed
fetch, in this process or the next, never builds on bytes that a crash took back.
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
"""How long to wait before asking again for a file that another fetch is at."""


@dataclass(frozen=True, slots=True)
class Published:
    """The checksums that a storage published for the whole file, as lower-case hex; None where it did not."""

    crc32c: str | None = None
    md5: str | None = None

    def over(self, other: Published) -> Published:
        """These, and `other`'s where these are unknown."""
        return Published(self.crc32c or other.crc32c, self.md5 or other.md5)


@dataclass(frozen=True, slots=True)
class ResumeMetadata:
    """What the first reply said about the whole file.

    Attributes:
        validator: a strong `ETag`, or a `Last-Modified` as good as one, for `If-Range`; None: it cannot be resumed.
        total: bytes of the whole; None if it was not said.
        origin: whose answer that was.
        published: the storage's checksums.
        encoding: the unrequested compression of the bytes; None for none.
    """

    validator: str | None = None
    total: int | None = None
    origin: str = ""
    published: Published = field(default_factory=Published)
    encoding: str | None = None


class PartialDownload:
    """An open, locked part file. Every method blocks, and raises OSError where the disk does.

    Attributes:
        path: where it is.
        have: how many good bytes it has, those in memory included.
        metadata: what is known of the whole.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self.have = 0
        self.metadata = ResumeMetadata()
        self._handle = handle
        self._sidecar = path.with_name(path.name + ".json")
        self._saved = 0
        self._noted = True
        self._held = bytearray()
        self._may_have_sidecar = True
        self._recall()

    @classmethod
    def open(cls, path: Path) -> PartialDownload:
        """Open or make the part at `path`, and lock it.

        Raises:
            AudioDelayed: another fetch has it (`reason` `fetch_in_progress`).
            OSError: the spool folder cannot be used.
        """
        spool = path.parent
        while True:
            with made_folder(spool.parent, [spool.name]) as folder:
                handle = open_file(path.name, os.O_RDWR | os.O_CREAT, folder, spool)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its last owner may have moved it into place between our opening and our locking it.
                if _same_file(path, handle):
                    return cls(path, handle)
            except BlockingIOError:
                os.close(handle)
                raise AudioDelayed(
                    "Another fetch of the same audio is on its way.",
                    after=IN_PROGRESS_SECONDS,
                    reason="fetch_in_progress",
                ) from None
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, as far as is known."""
        return self.metadata.total is not None and 0 < self.have == self.metadata.total

    @property
    def unsaved(self) -> int:
        """Bytes that a crash would cost."""
        return self.have - self._saved

    @property
    def held(self) -> int:
        """Bytes that are in memory only."""
        return len(self._held)

    @property
    def closed(self) -> bool:
        """Whether the lock was given up."""
        return self._handle < 0

    @property
    def in_memory(self) -> bytes | None:
        """All of it, where nothing was written yet."""
        return bytes(self._held) if self.held == self.have else None

    def hold(self, data: bytes | bytearray) -> None:
        """Append in memory; does not block. Written with what is next done with the file, its closing at the latest."""
        self._held += data
        self.have += len(data)

    def write(self, data: bytes | bytearray) -> None:
        """Append."""
        self.flush()
        self._append(data)

    def flush(self) -> None:
        """Write what is held in memory."""
        held, self._held = self._held, bytearray()
        self.have -= len(held)
        self._append(held)

    def _append(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._handle, view, self.have)
            if written == 0:
                raise OSError(errno.EIO, "nothing was written")
            self.have += written
            view = view[written:]

    def head(self, size: int) -> bytes:
        """The first `size` bytes."""
        self.flush()
        return os.pread(self._handle, min(size, self.have), 0)

    def save(self) -> None:
        """Make what is there durable, and say so beside it."""
        self.flush()
        if self.have == 0 or (self.have == self._saved and self._noted):
            return
        os.fdatasync(self._handle)
        fresh = self._sidecar.with_name(self._sidecar.name + ".new")
        with open(fresh, "w", encoding="utf-8", opener=_open_note) as note:  # Path.open takes no opener
            note.write(json.dumps({"have": self.have, **asdict(self.metadata)}))
        self._may_have_sidecar = True
        fresh.replace(self._sidecar)
        self._saved, self._noted = self.have, True

    def reset(self, known: ResumeMetadata | None = None) -> None:
        """Forget the bytes; begin a whole of which `known` is known."""
        self._remove_sidecar()
        os.ftruncate(self._handle, 0)
        self._forget()
        self.metadata, self._noted = known or ResumeMetadata(), False

    def learn(self, known: ResumeMetadata) -> None:
        """Know more of the same whole, or of one of which there are no bytes yet; does not block."""
        self.metadata, self._noted = known, False

    def discard(self) -> None:
        """Remove what is left in the spool. The file that was moved into place from here is not touched."""
        self._forget()
        self._remove_sidecar()
        if _same_file(self.path, self._handle):
            self.path.unlink()

    def close(self) -> None:
        """Give up the lock; keep the bytes for the next time, if there are any."""
        try:
            if self.have:
                self.save()
            else:
                self.discard()
        except OSError as error:
            logger.warning("audio.part_not_kept", file=self.path.name, error=error.strerror)
        finally:
            self._release()

    def finish(self) -> None:
        """Discard what is left, and give up the lock."""
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

    def _forget(self) -> None:
        self._held.clear()
        self.have = self._saved = 0

    def _recall(self) -> None:
        """Take up where the last fetch ended, if its note fits the bytes; begin again if not."""
        try:
            note = json.loads(self._sidecar.read_bytes())
            published = Published(**note["published"])
            known = ResumeMetadata(note["validator"], note["total"], note["origin"], published, note.get("encoding"))
            have = note["have"]
            fits = type(have) is int and 0 < have <= os.fstat(self._handle).st_size
        except FileNotFoundError:
            fits = self._may_have_sidecar = False
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            self.reset()
            return
        os.ftruncate(self._handle, have)
        self.have = self._saved = have
        self.metadata = known


def sweep(spool: Path, older_than: float, now: float) -> int:
    """Remove parts that no fetch has touched for `older_than` seconds, and notes without a part. Blocks.

    Args:
        now: unix seconds by the process's clock: just after the machine's clock was set forward, no file looks old.

    Returns:
        How many parts were removed.
    """
    removed = 0
    with suppress(FileNotFoundError), opened_folder(spool.parent, [spool.name]):
        pass  # it is there, or to be made; a link is refused
    for path in sorted(spool.glob("*.part")):
        try:
            if now - path.stat().st_mtime < older_than:
                continue
            part = PartialDownload.open(path)
        except (FileNotFoundError, AudioDelayed):
            continue  # its fetch has just ended, or is on its way
        try:
            part.discard()
            removed += 1
        finally:
            part.close()
    for note in spool.glob("*.part.json*"):
        if now - note.stat().st_mtime >= older_than and not note.with_name(note.name.partition(".json")[0]).exists():
            note.unlink(missing_ok=True)
    return removed


def _open_note(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)


def _same_file(path: Path, handle: int) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    here = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
