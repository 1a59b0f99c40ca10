"""Lock files, by which processes that share a store detect dead ones: each process keeps a lock on its own file.

The kernel releases a lock when its process ends, however it ends, and for no other reason. So a file that can be locked
belongs to a process that died without releasing its leases. If an owner has no file, its leases have to expire. This
works for SQLite, whose processes are all on one machine (docs/adr/0040).
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import re
import stat
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from receiver.store.changes import MADE_DUE, Change
from receiver.store.sqlite.wake_ups import WakeUpPipe, pipe_of

FOLDER_SUFFIX = ".processes"
FOLDER_MODE = 0o700
FILE_MODE = 0o600
MAX_FILES = 1000
"""Files that are read from the folder at a time."""

_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class ProcessFiles:
    """The lock files of the processes that share the SQLite store at `store`, in a folder beside it. All methods block.

    Args:
        owner: as made by `leases.new_owner`.
    """

    heartbeat_seconds = 60.0
    rejoin_seconds = 60.0
    """On a file system without locks each try fails."""
    confirm_seconds = math.inf
    quiet = False
    hears = False

    def __init__(self, store: Path, owner: str) -> None:
        self.owner = owner
        self.folder = folder_of(store)
        self._own: int | None = None
        self._dead: dict[str, int] = {}
        self._not_removed: dict[str, int] = {}
        self._subscriber: Callable[[Change | None], None] | None = None
        self._wake_ups = WakeUpPipe(self.folder, owner, self._on_wake_up)

    @property
    def is_visible(self) -> bool:
        """Whether other processes see that this one lives: its file still exists."""
        return self._own is not None and _same_file(self._own, self.folder / self.owner)

    def join(self) -> None:
        """Create this process's file, locked before it is visible; create it again if it was removed.

        Raises:
            OSError: it cannot be created, or this file system has no such locks (`ENOTSUP`).
        """
        self.folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        hidden = self.folder / f".{self.owner}"  # `find_dead` ignores it
        handle = os.open(hidden, _FLAGS | os.O_CREAT | os.O_EXCL, FILE_MODE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _require_working(hidden)
            hidden.rename(self.folder / self.owner)
        except BaseException:
            os.close(handle)
            with suppress(OSError):
                hidden.unlink()
            raise
        before, self._own = self._own, handle
        if before is None:
            _close_in_forks(self)
        else:
            os.close(before)
        if self._subscriber is not None:
            with suppress(OSError):  # it polls
                self._wake_ups.open()

    def find_dead(self) -> list[str]:
        """The owners of files that no process has locked. Their files are locked from now on.

        Raises:
            OSError: the folder cannot be read.
        """
        if self._own is None:  # it is unknown whether locks work
            return []
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in islice(entries, MAX_FILES)]
        except FileNotFoundError:
            return []
        for name in names:
            known = name == self.owner or name in self._dead or name in self._not_removed
            if not known and _OWNER.fullmatch(name):
                handle = _locked(self.folder / name)
                if handle is not None:
                    self._dead[name] = handle
        return list(self._dead)

    def remove(self, owner: str) -> None:
        """Remove a dead owner's file, then release its lock.

        Raises:
            OSError: it cannot be removed. Other processes will find it again after this process has ended.
        """
        handle = self._dead.pop(owner)
        with suppress(OSError):
            pipe_of(self.folder, owner).unlink(missing_ok=True)
        try:
            (self.folder / owner).unlink(missing_ok=True)
        except OSError:
            self._not_removed[owner] = handle
            raise
        os.close(handle)

    def leave(self) -> None:
        """Remove this process's file, and release all locks.

        Raises:
            OSError: it cannot be removed, and other processes will take this one for dead.
        """
        try:
            if self._own is not None:
                pipe_of(self.folder, self.owner).unlink(missing_ok=True)
                (self.folder / self.owner).unlink(missing_ok=True)
        finally:
            self.close()

    def close(self) -> None:
        """Release all locks and keep the files: other processes will take this one for dead."""
        handles = [*self._dead.values(), *self._not_removed.values(), *([] if self._own is None else [self._own])]
        self._own = None
        self._dead.clear()
        self._not_removed.clear()
        for handle in handles:
            os.close(handle)
        self._wake_ups.close()

    def announce(self, change: Change) -> None:
        """Nothing: the others poll. Only commands wake them (`wake_ups`): each delivery would pay for it."""

    def subscribe(self, subscriber: Callable[[Change | None], None]) -> None:
        """Call it, in another thread, after a command has committed something. Before `join`."""
        self._subscriber = subscriber

    def _on_wake_up(self) -> None:
        if self._subscriber is not None:
            for change in MADE_DUE:
                self._subscriber(change)


def folder_of(store: Path) -> Path:
    """The folder of the files of the processes that share the store; they may use different paths to it."""
    path = store.resolve()
    return path.with_name(path.name + FOLDER_SUFFIX)


def find_living(store: Path) -> list[str]:
    """The owners that share the SQLite store at `store`. Blocks. For a process that has not joined.

    Raises:
        OSError: that cannot be determined.
    """
    folder = folder_of(store)
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MAX_FILES) if _OWNER.fullmatch(entry.name)]
    except FileNotFoundError:
        return []
    return [name for name in names if _is_locked(folder / name)]


def _is_locked(path: Path) -> bool:
    try:
        with _opened(path) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two commands do not see each other's
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _require_working(path: Path) -> None:
    """Check that our lock excludes another open file, also after one was opened and closed.

    Raises:
        OSError: it does not.
    """
    for _ in range(2):
        with _opened(path) as handle:
            if _lock(handle):
                raise OSError(errno.ENOTSUP, "This file system does not keep locks on files", str(path))


def _locked(path: Path) -> int | None:
    """The file at `path`, locked; None if it cannot be locked, or was replaced."""
    try:
        handle = os.open(path, _FLAGS)
    except OSError:  # it was just removed, or belongs to another user
        return None
    try:
        if _lock(handle) and stat.S_ISREG(os.fstat(handle).st_mode) and _same_file(handle, path):
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def _lock(handle: int) -> bool:
    """Lock the file; False if another process has locked it.

    Raises:
        OSError: this file system has no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, _FLAGS)
    try:
        yield handle
    finally:
        os.close(handle)


def _same_file(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        on_disk, opened = path.lstat(), os.fstat(handle)
    except OSError:
        return False
    return (on_disk.st_dev, on_disk.st_ino) == (opened.st_dev, opened.st_ino)


def _close_in_forks(files: ProcessFiles) -> None:
    """Close the handles in forked children, which would keep the locks if they outlived their parent."""
    known = weakref.ref(files)

    def close() -> None:
        found = known()
        if found is not None:
            found.close()

    os.register_at_fork(after_in_child=close)
