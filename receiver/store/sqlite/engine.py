"""The store's file: connections with write-ahead logging and explicit transactions; whether it is still in its place.

Both are here because a commit is durable only if the file that it was written to can be found again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.pool import QueuePool

from receiver.errors import StoreUnavailable
from receiver.store.backend import CommitsAtRisk
from receiver.store.sqlite.faults import unreachable

CHECK_SECONDS = 1.0
"""How often the store's files are checked if their folder has not changed."""
MTIME_SETTLED_NANOSECONDS = 3_000_000_000
"""How old a folder's modification time must be so that a later change gets another one: some file systems have a
resolution of two seconds."""

CHECKPOINT_ROWS = 2000
"""Changed rows after which the thread makes a checkpoint; a row is one or two pages, of 4 KiB each."""
MAX_WAL_PAGES = 8000
"""From this size of the `-wal`, 32 MiB, a commit makes a checkpoint itself. Most of it is done already: the thread's
checkpoint cannot reach the end of a `-wal` that grows all the time, and only a complete one lets it begin again."""
CLOSE_SECONDS = 10.0
"""How long `close` waits for a checkpoint. A disk that hangs must not keep the process; nothing is lost."""

Identity = tuple[int, int] | None

log = structlog.get_logger("receiver.store")


def sqlite_engine(path: Path, busy_seconds: float, *, writes: bool) -> Engine:
    """Connections to the file. Their transactions take the write lock when they begin, or are read-only.

    Args:
        busy_seconds: how long a statement waits for another process's transaction.
    """
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=2 if writes else 4,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": busy_seconds, "cached_statements": 256},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        _use_wal(connection, busy_seconds)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={MAX_WAL_PAGES}")
        connection.execute("PRAGMA foreign_keys=ON")
        if not writes:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        run_statement(connection, "BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def wait_for_lock(connection: Connection, seconds: float) -> None:
    """Set how long the connection waits for another process's transaction. Only outside a transaction.

    Raises:
        DBAPIError: as from SQLAlchemy.
    """
    run_statement(connection, f"PRAGMA busy_timeout={round(seconds * 1000)}")


def run_statement(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """Execute a statement with the driver itself, in the connection's transaction; return all rows.

    For the hot paths: SQLAlchemy's work around a statement takes ten times as long.

    Raises:
        DBAPIError: as from SQLAlchemy.
    """
    try:
        rows: list[Any] = _driver(connection).execute(statement, parameters).fetchall()
    except sqlite3.Error as error:
        raise exc.DBAPIError.instance(statement, None, error, sqlite3.Error, dialect=connection.dialect) from error
    return rows


def checkpoint(connection: Connection) -> None:
    """Copy the `-wal` into the store, as far as no reader needs it. Only outside a transaction.

    Raises:
        DBAPIError: the store cannot be written.
    """
    run_statement(connection, "PRAGMA wal_checkpoint(PASSIVE)")


def write_page(connection: Connection) -> None:
    """Write a page of the store without changing it, to test whether a delivery could be stored."""
    # Setting the version writes the page even if it stays the same.
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    connection.exec_driver_sql(f"PRAGMA user_version={int(version)}")


def quick_check(connection: Connection) -> str | None:
    """Check the whole store; return the first damage that SQLite finds, None if there is none."""
    found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    return None if found == "ok" else " ".join(found.split())[:300]


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Switch the file to write-ahead logging. SQLite does not wait if two processes do that at once, so this does."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return


class Checkpoints:
    """Makes checkpoints of the store at `path` while commits go on (docs/adr/0098).

    Its thread starts when the first one is due.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0
        self._due = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def committed(self, rows: int) -> None:
        """Note a commit, in the writer's thread.

        Args:
            rows: how many rows the writer's connection has changed since it was opened.
        """
        if not 0 <= rows - self._rows < CHECKPOINT_ROWS:  # less: it is a new connection
            self._rows = rows
            self._due.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="store-checkpoint", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._is_closing = True
            self._due.set()
            self._thread.join(CLOSE_SECONDS)
            self._thread, self._is_closing = None, False

    def _run(self) -> None:
        is_failing = False
        # It must exist: otherwise connecting would create an empty store.
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        connection = None
        while self._due.wait() and not self._is_closing:
            self._due.clear()
            try:
                if connection is None:
                    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=0)
                    connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                is_failing = False
            except sqlite3.Error as error:  # a commit makes one itself in the end, and fails if it cannot
                if not is_failing:
                    log.warning("store.checkpoint_failed", path=str(self._path), detail=str(error))
                is_failing = True
        if connection is not None:
            connection.close()


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
        self._checkpoints = Checkpoints(path)

    def opened(self) -> None:
        """Remember the identity of the store's file, before the store is used."""
        real = os.path.realpath(self._path)  # SQLite keeps the two beside the file that a link points to
        self._names = [str(self._path), f"{real}-wal", f"{real}-shm"]
        self._known = [_identity(self._names[0]), None, None]
        self._checked = None

    def require_unchanged(self) -> None:
        """Check all files if the folder has changed since the last check, and at least each second.

        Raises:
            CommitsAtRisk, StoreUnavailable: as `require_all`.
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

    def committed(self, connection: Connection) -> None:
        """Have checkpoints made in time."""
        self._checkpoints.committed(_driver(connection).total_changes)

    def closed(self) -> None:
        """End the checkpoints."""
        self._checkpoints.close()

    def is_connected(self, connection: Connection) -> bool:
        """Always: there is no server that could close it."""
        return True

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
            CommitsAtRisk: the `-wal` was removed.
            StoreUnavailable: one of the files is not the one that was opened.
        """
        self.require_store()
        for index in (1, 2):
            found = _identity(self._names[index])
            if self._known[index] is None:
                self._known[index] = found
            elif found != self._known[index]:
                kind = CommitsAtRisk if index == 1 and found is None else StoreUnavailable
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
