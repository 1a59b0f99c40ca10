"""The health of the store: the outcome of its last commits, and whether its files are still those that were opened.

The writer thread updates it; readiness reads it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import structlog

from receiver.errors import StoreFull, StoreMalformed, StoreUnavailable
from receiver.store.faults import locked, unreachable

log = structlog.get_logger("receiver.store")

LOCK_SECONDS = 0.75
"""How long a transaction may wait for another process's before the store counts as locked."""
STALL_SECONDS = 5.0
"""How long a transaction of this process may take before the disk counts as stalled."""
FULL_SECONDS = 5.0
"""How long a full disk counts as full although a commit succeeds: it may be smaller than a delivery."""

CHECK_SECONDS = 1.0
"""How often the store's files are checked if their folder has not changed."""
MTIME_SETTLED_NANOSECONDS = 3_000_000_000
"""How old a folder's modification time must be so that a later change gets another one: some file systems have a
resolution of two seconds."""

Identity = tuple[int, int] | None


class WalRemoved(StoreUnavailable):
    """The `-wal` file was removed while this process has it open."""


class StoreHealth:
    """The outcome of one store's commits.

    Attributes:
        error: why the last commit failed; None if it succeeded.
        committed_at: when the last commit succeeded, monotonic seconds.
        malformed: the error of a damaged file; stays until the process ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.error: StoreUnavailable | None = None
        self.malformed: StoreMalformed | None = None
        self.committed_at = float("-inf")
        self._failing_since = self._failed_at = float("-inf")
        self._waiting_since: float | None = None
        self._working_since: float | None = None
        self._logged_cause: str | None = None

    def lock_requested(self) -> None:
        """A transaction waits for the write lock."""
        self._waiting_since = time.monotonic()

    def lock_acquired(self) -> None:
        """The transaction has the write lock."""
        self._waiting_since, self._working_since = None, time.monotonic()

    def transaction_ended(self) -> None:
        """The transaction has ended."""
        self._waiting_since = self._working_since = None

    def committed(self) -> None:
        """A commit succeeded."""
        now = time.monotonic()
        if self.error is not None:
            if isinstance(self.error, StoreFull) and now < self._failed_at + FULL_SECONDS:
                return
            self.error = self._logged_cause = None
            log.info("store.available", path=str(self._path), seconds=round(now - self._failing_since, 1))
        self.committed_at = now

    def failed(self, error: StoreUnavailable) -> None:
        """A commit failed. One line is logged for each cause."""
        self._failed_at = time.monotonic()
        if self.error is None:
            self._failing_since = self._failed_at
        self.error = error
        self._log_once(error)

    def damaged(self, error: StoreMalformed) -> None:
        """A commit or a read found the file damaged."""
        self.malformed = self.malformed or error
        self._log_once(error)

    def _log_once(self, error: StoreUnavailable) -> None:
        cause = str(error) if type(error) is StoreUnavailable else error.reason
        if self._logged_cause != cause:
            self._logged_cause = cause
            log.error("store.unavailable", reason=error.reason, detail=str(error))

    def outage(self) -> StoreUnavailable | None:
        """Why a delivery could not be stored now; None if it could."""
        found = self.malformed or self.error
        if found is not None:
            return found
        now, waiting, working = time.monotonic(), self._waiting_since, self._working_since
        if waiting is not None and now - waiting >= LOCK_SECONDS:
            return locked(self._path)
        if working is not None and now - working >= STALL_SECONDS:
            return StoreUnavailable(
                f"The store {self._path} has not finished a transaction for more than {STALL_SECONDS:.0f} s: its disk "
                "is slow, or does not respond."
            )
        return None


class StoreFiles:
    """Detects that the store's files were moved or removed: data written to such a file is not durable.

    The `-wal` file holds the last commits, the `-shm` file the state that processes share. SQLite creates both at the
    first transaction, and removes them when the last connection of all processes is closed.

    Around each commit only the folder is checked: its modification time changes with each name in it. Each system call
    releases the interpreter's lock, and waits for it again behind a busy event loop.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = [str(path)]
        self._known: list[Identity] = [None, None, None]
        self._folder = str(path.parent)
        self._checked: tuple[int, int, int] | None = None
        self._check_at = float("-inf")

    def opened(self) -> None:
        """Remember the identity of the store's file, before the store is used."""
        real = os.path.realpath(self._path)  # SQLite keeps the two beside the file that a link points to
        self._names = [str(self._path), f"{real}-wal", f"{real}-shm"]
        self._known = [_identity(self._names[0]), None, None]
        self._checked = None

    def require_unchanged(self) -> None:
        """Check all files if the folder has changed since the last check, and at least each second.

        Raises:
            WalRemoved, StoreUnavailable: as `require_all`.
        """
        try:
            folder = os.stat(self._folder)  # noqa: PTH116 - as in `_identity`
        except OSError:
            self.require_all()
            return
        seen = folder.st_dev, folder.st_ino, folder.st_mtime_ns
        now = time.monotonic()
        if seen == self._checked and now < self._check_at:
            return
        self._checked = None
        self.require_all()
        # A change right after the last one may get the same time. The target of a link is in another folder.
        settled = time.time_ns() - folder.st_mtime_ns > MTIME_SETTLED_NANOSECONDS
        if settled and None not in self._known and not os.path.islink(self._names[0]):  # noqa: PTH114 - as above
            self._checked, self._check_at = seen, now + CHECK_SECONDS

    def require_store(self) -> None:
        """Check the store's main file.

        Raises:
            StoreUnavailable: the file is not the one that was opened.
        """
        if _identity(self._names[0]) != self._known[0]:
            try:
                self._path.stat()
            except PermissionError as error:  # the file may exist
                raise unreachable(error, self._path) from error
            except OSError:
                pass
            raise StoreUnavailable(
                f"The store {self._path} was moved, removed or replaced. Put it back, or restart the receiver."
            )

    def require_all(self) -> None:
        """Check all files. The two beside the main file exist once a transaction was begun.

        Raises:
            WalRemoved: the `-wal` was removed.
            StoreUnavailable: one of the files is not the one that was opened.
        """
        self.require_store()
        for index in (1, 2):
            found = _identity(self._names[index])
            if self._known[index] is None:
                self._known[index] = found
            elif found != self._known[index]:
                kind = WalRemoved if index == 1 and found is None else StoreUnavailable
                raise kind(
                    f"{self._names[index]} was removed or replaced while the receiver runs: no other process would see "
                    "new commits. Restart the receiver."
                )


def _identity(name: str) -> Identity:
    try:
        found = os.stat(name)  # noqa: PTH116 - twice as fast as Path.stat
    except OSError:
        return None
    return found.st_dev, found.st_ino
