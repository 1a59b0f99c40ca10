"""Publishes files durably: after a crash, a file has its old content or the whole new content, never a part of it.

Every file that must survive takes the same steps: write a temporary file in the same folder, fsync it, rename it, fsync
the folder. They are in a module at the lowest layer, so that no other part of the code has its own version of them.

A temporary file is locked while its process lives, and its name is derived from that of its target. So the next
publication of the same target finds and removes the file of a killed process. All functions block.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from enum import Enum
from pathlib import Path
from threading import Lock

CHUNK_BYTES = 1 << 20
"""Bytes that are copied at a time between file systems."""
MAX_ATTEMPTS = 100
"""How often a temporary file is created again if other processes remove it."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS}
"""The errors of a file system without locks."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
"""The errors of a file system without hard links."""


class OverwritePolicy(Enum):
    """What to do if the target exists."""

    REFUSE = "refuse"
    REPLACE = "replace"


class TemporaryFile:
    """An unfinished file that becomes `target` when it is published. Created by `temporary_file`.

    Its methods may run in a thread whose caller has given up: they raise OSError after the file is closed.
    """

    def __init__(self, folder: int, target: str, handle: int) -> None:
        self._folder = folder
        self._target = target
        self._name = _temporary_name(target)
        self._handle = handle
        self._size = 0
        self._lock = Lock()

    def reserve(self, size: int) -> None:
        """Reserve `size` bytes on the disk, so that writing the content cannot fail for lack of space.

        Raises:
            OSError: there is not enough space.
        """
        with self._lock:
            _write(self._handle, b"\n" * size, 0)
            os.fsync(self._handle)

    def set_owner(self, uid: int, gid: int) -> None:
        """Change the file's owner and group.

        Raises:
            OSError: this process is not permitted to.
        """
        with self._lock:
            os.fchown(self._handle, uid, gid)

    def append(self, data: bytes) -> None:
        """Append bytes to the content.

        Raises:
            OSError: they cannot be written.
        """
        with self._lock:
            self._size += _write(self._handle, data, self._size)

    def publish(self, policy: OverwritePolicy) -> None:
        """Rename the file to its target. The target is durable when this returns.

        Raises:
            FileExistsError: `policy` is `REFUSE` and the target exists.
            OSError: the target has its old content, or the new one if only the folder's fsync failed.
        """
        with self._lock:
            os.ftruncate(self._handle, self._size)
            os.fsync(self._handle)
            if not _is_entry(self._folder, self._name, self._handle):
                raise FileNotFoundError(errno.ENOENT, "its temporary file was removed before it was published")
            if policy is OverwritePolicy.REPLACE:
                os.replace(self._name, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            else:
                self._rename_without_replacing()
            os.fsync(self._folder)

    def close(self) -> None:
        """Remove it, unless it was published.

        Raises:
            OSError: it cannot be removed.
        """
        with self._lock:
            handle, self._handle = self._handle, -1
            try:
                if _is_entry(self._folder, self._name, handle):
                    os.unlink(self._name, dir_fd=self._folder)
            finally:
                os.close(handle)

    def _rename_without_replacing(self) -> None:
        """Rename by a hard link: only that creates a name and fails if it exists, in one step."""
        try:
            os.link(
                self._name, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False
            )  # fmt: skip
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with suppress(FileNotFoundError):
                os.stat(self._target, dir_fd=self._folder, follow_symlinks=False)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._target) from None
            os.rename(self._name, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        else:
            os.unlink(self._name, dir_fd=self._folder)


@contextmanager
def temporary_file(target: Path, mode: int) -> Iterator[TemporaryFile]:
    """A temporary file beside `target`, empty and locked. It is removed at the end unless it was published.

    Args:
        mode: of the file, from its creation; the umask restricts it further.

    Raises:
        BlockingIOError: another process is writing a file for the same target.
        OSError: it cannot be created.
    """
    folder = os.open(target.parent, _FOLDER_FLAGS)
    try:
        with _temporary_file_in(folder, target.name, mode) as file:
            yield file
    finally:
        os.close(folder)


def write_durably(target: Path, data: bytes, mode: int, policy: OverwritePolicy) -> None:
    """Publish a file with this content.

    Args:
        mode: of the file, from its creation; the umask restricts it further.

    Raises:
        FileExistsError: `policy` is `REFUSE` and the target exists.
        OSError: it cannot be written.
    """
    with temporary_file(target, mode) as file:
        file.append(data)
        file.publish(policy)


def move_durably(source: Path, folder: int, name: str, mode: int) -> None:
    """Publish a complete file: move it into a folder, and replace any file with that name.

    If the folder is on another file system, the file is copied, then removed.

    Args:
        source: not a symbolic link.
        folder: an open folder.
        mode: the file's mode is limited to this.

    Raises:
        OSError: it cannot be moved.
    """
    handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        found = stat.S_IMODE(os.fstat(handle).st_mode)
        if found & ~mode:
            os.fchmod(handle, found & mode)
        os.fsync(handle)
        try:
            os.replace(source, name, dst_dir_fd=folder)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with _temporary_file_in(folder, name, mode) as copy:
                while data := os.read(handle, CHUNK_BYTES):
                    copy.append(data)
                copy.publish(OverwritePolicy.REPLACE)
            source.unlink()
            return
    finally:
        os.close(handle)
    os.fsync(folder)


def remove_abandoned(target: Path) -> None:
    """Remove the temporary file of a killed process beside `target`, if there is one.

    Raises:
        OSError: it cannot be removed.
    """
    folder = os.open(target.parent, _FOLDER_FLAGS)
    try:
        _remove_abandoned(folder, _temporary_name(target.name))
    finally:
        os.close(folder)


def sync_folder(path: Path) -> None:
    """Make a folder's new, renamed and removed entries durable.

    Raises:
        OSError: it cannot be opened, or the disk fails.
    """
    handle = os.open(path, _FOLDER_FLAGS)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _temporary_file_in(folder: int, target: str, mode: int) -> Iterator[TemporaryFile]:
    with closing(TemporaryFile(folder, target, _create(folder, _temporary_name(target), mode))) as file:
        yield file


def _temporary_name(target: str) -> str:
    # A hash, because the target's name may already have the maximum length.
    return f".tts-{hashlib.sha256(os.fsencode(target)).hexdigest()[:16]}.part"


def _create(folder: int, name: str, mode: int) -> int:
    """Create and lock a file with this mode. It is always new, so that no other process has it open."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    for _ in range(MAX_ATTEMPTS):
        try:
            handle = os.open(name, flags, mode, dir_fd=folder)
        except FileExistsError:
            if not _remove_abandoned(folder, name):
                break
            continue
        try:
            # Before it was locked, another process may have removed it as abandoned.
            if _lock(handle) and _is_entry(folder, name, handle):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise BlockingIOError(errno.EAGAIN, "another process is writing it at this moment")


def _remove_abandoned(folder: int, name: str) -> bool:
    """Remove the temporary file unless a process is writing it; return whether it is gone."""
    try:
        handle = os.open(name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return True
    except PermissionError as error:
        raise PermissionError(
            error.errno, f"{error.strerror}: another user left the temporary file {name} there; remove it"
        ) from None
    try:
        if not _lock(handle):
            return False
        if _is_entry(folder, name, handle):
            os.unlink(name, dir_fd=folder)
        return True
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock the file; False if another process has the lock. On a file system without locks, `publish` detects that."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _is_entry(folder: int, name: str, handle: int) -> bool:
    """Whether the folder's entry `name` is the open file."""
    try:
        return os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(handle))
    except FileNotFoundError:
        return False


def _write(handle: int, data: bytes, at: int) -> int:
    """Write all bytes at this offset; return how many."""
    view = memoryview(data)
    written = 0
    while written < len(view):
        count = os.pwrite(handle, view[written:], at + written)
        if count == 0:
            raise OSError(errno.EIO, "nothing was written")
        written += count
    return written
