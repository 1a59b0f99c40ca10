"""Which of the processes that share a store are dead: each holds a lock on a file of its own for as long as it lives.

The kernel gives up a lock when its process ends, however it ends, and for no other reason. So a file that is there and
can be locked is that of a process that ended without giving back what it held. Nothing is known of an owner without a
file: its leases decide. For SQLite, whose processes are all on one machine; another store needs another way.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import socket
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

FOLDER_SUFFIX = ".processes"
FOLDER_MODE = 0o700
FILE_MODE = 0o600
MAX_FILES = 1000
"""Files that are looked at in one go."""

_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


def new_owner() -> str:
    """A name for this process in leases, unlike that of any process before it, and fit for a file's name."""
    host = re.sub(r"[^A-Za-z0-9]", "-", socket.gethostname())[:40]
    return f"{host}_{os.getpid()}_{secrets.token_hex(8)}"


class ProcessFiles:
    """The files of the processes that share the SQLite store at `store`, in a folder beside it. Every method blocks.

    Args:
        owner: as made by `new_owner`.
    """

    def __init__(self, store: Path, owner: str) -> None:
        path = store.resolve()  # processes may open the store by different names
        self.owner = owner
        self.folder = path.with_name(path.name + FOLDER_SUFFIX)
        self._own: int | None = None
        self._dead: dict[str, int] = {}
        self._not_removed: dict[str, int] = {}

    @property
    def is_seen(self) -> bool:
        """Whether the others can see that this process lives: its file is still there."""
        return self._own is not None and _same_file(self._own, self.folder / self.owner)

    def join(self) -> None:
        """Make this process's file, locked before it can be seen; make it again if it was removed.

        Raises:
            OSError: it cannot be made, or this file system does not know such locks (`ENOTSUP`).
        """
        self.folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        hidden = self.folder / f".{self.owner}"  # `find_dead` does not look at it
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

    def find_dead(self) -> list[str]:
        """Owners whose file is there and not locked, each locked from now on.

        Raises:
            OSError: the folder cannot be read.
        """
        if self._own is None:  # it is not known whether locks work
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
        """Remove a dead owner's file, then its lock.

        Raises:
            OSError: it cannot be removed. It is found dead again by others, after this process has ended.
        """
        handle = self._dead.pop(owner)
        try:
            (self.folder / owner).unlink(missing_ok=True)
        except OSError:
            self._not_removed[owner] = handle
            raise
        os.close(handle)

    def leave(self) -> None:
        """Remove this process's file; give up every lock.

        Raises:
            OSError: it cannot be removed, and will be found dead.
        """
        try:
            if self._own is not None:
                (self.folder / self.owner).unlink(missing_ok=True)
        finally:
            self.close()

    def close(self) -> None:
        """Give up every lock and keep the files: others find this process dead."""
        handles = [*self._dead.values(), *self._not_removed.values(), *([] if self._own is None else [self._own])]
        self._own = None
        self._dead.clear()
        self._not_removed.clear()
        for handle in handles:
            os.close(handle)


def anyone_lives(store: Path) -> bool:
    """Whether a process lives that shares the SQLite store at `store`, or may: one that cannot be looked at. Blocks.

    For a process that has not joined them itself.
    """
    path = store.resolve()
    folder = path.with_name(path.name + FOLDER_SUFFIX)
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MAX_FILES) if _OWNER.fullmatch(entry.name)]
        return any(_is_locked(folder / name) for name in names)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _is_locked(path: Path) -> bool:
    try:
        with _opened(path) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two commands do not take each other for one
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _require_working(path: Path) -> None:
    """Check that our lock refuses every other open file, also after one was opened and closed.

    Raises:
        OSError: it does not.
    """
    for _ in range(2):
        with _opened(path) as handle:
            if _lock(handle):
                raise OSError(errno.ENOTSUP, "This file system does not keep locks on files", str(path))


def _locked(path: Path) -> int | None:
    """The file at `path`, locked; None if it cannot be, or if that proves nothing."""
    try:
        handle = os.open(path, _FLAGS)
    except OSError:  # removed just now, or another user's
        return None
    try:
        if _lock(handle) and stat.S_ISREG(os.fstat(handle).st_mode) and _same_file(handle, path):
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def _lock(handle: int) -> bool:
    """Lock it; False if another process has.

    Raises:
        OSError: there are no locks here.
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
        there, ours = path.lstat(), os.fstat(handle)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _close_in_forks(files: ProcessFiles) -> None:
    """A forked child has the handles too, and would keep the locks while it outlives its parent."""
    known = weakref.ref(files)

    def close() -> None:
        found = known()
        if found is not None:
            found.close()

    os.register_at_fork(after_in_child=close)
