"""A store in a SQLite file."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, exc, make_url

from receiver.clock import Clock
from receiver.errors import StoreLocked, StoreMalformed, StoreUnavailable
from receiver.paths import setting_path
from receiver.store.backend import is_failure_of_store
from receiver.store.sqlite import engine, faults
from receiver.store.sqlite.processes import ProcessFiles, find_living, folder_of
from receiver.store.sqlite.wake_ups import wake_after_commits


def sqlite_path(url: str, base: Path) -> Path | None:
    """The file of a SQLite address, relative to `base`; None for another database.

    Raises:
        ValueError: the address is not valid, or names no file.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise ValueError("is not a database address such as sqlite:///data/receiver.db") from None
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise ValueError("names no file: a database in memory is not durable")
    return setting_path(parsed.database, base)


class SqliteBackend:
    """The SQLite file at `path`, whose folder must exist; see `store.backend`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.location = str(path)
        self.folder: Path | None = path.parent
        self.durability = engine.StoreFiles(path)

    def exists(self) -> bool:
        """Whether the file exists.

        Raises:
            StoreUnavailable: its folder cannot be read.
        """
        try:
            return self._path.exists()
        except OSError as error:
            raise faults.unreachable(error, self._path) from error

    def create(self) -> None:
        """Create an empty file. Deliveries are private: SQLite gives the files beside it the same mode.

        Raises:
            StoreUnavailable: it cannot be created.
        """
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise faults.unreachable(error, self._path) from error

    def hold_schema(self, connection: Connection) -> None:
        """Nothing: a transaction that writes has the whole store."""

    def create_tables(self, connection: Connection) -> bool:
        """False: the migrations create them, so that they are those of every earlier store."""
        return False

    def writer_engine(self, lock_seconds: float) -> Engine:
        """Connections whose transactions take the write lock when they begin."""
        return engine.sqlite_engine(self._path, lock_seconds, writes=True)

    def reader_engine(self, lock_seconds: float) -> Engine:
        """Connections that cannot write."""
        return engine.sqlite_engine(self._path, lock_seconds, writes=False)

    def set_lock_seconds(self, connection: Connection, seconds: float) -> None:
        """Change how long the connection waits for the write lock. Only outside a transaction."""
        engine.wait_for_lock(connection, seconds)

    def limit_answers(self, connection: Connection, seconds: float) -> None:
        """Nothing: a system call that waits for a disk cannot be ended."""

    def interrupt(self, driver_connection: Any) -> None:
        """Interrupt the statement that is being executed, if any."""
        driver_connection.interrupt()

    def is_outage(self, error: exc.DBAPIError) -> bool:
        """By the class of the error."""
        return is_failure_of_store(error)

    def is_retried(self, error: exc.DBAPIError) -> bool:
        """Never: no transaction fails because of another one that was not waited for."""
        return False

    def is_locked_row(self, error: exc.DBAPIError) -> bool:
        """Never: a lock is of the whole file."""
        return False

    def unavailable(self, error: exc.DBAPIError) -> StoreUnavailable:
        """Convert an error of SQLite."""
        return faults.unavailable(error, self._path)

    def locked(self) -> StoreLocked:
        """The error for a write transaction of another process that does not end."""
        return faults.locked(self._path)

    def malformed(self, text: str) -> StoreMalformed:
        """The error for a damaged file; `text` is SQLite's description."""
        return faults.malformed(self._path, text)

    def probe(self, connection: Connection) -> None:
        """Write a page without changing it."""
        engine.write_page(connection)

    def has_written(self, connection: Connection) -> bool:
        """True: one that has the lock for writing found a disk that answers."""
        return True

    def checkpoint(self, connection: Connection) -> None:
        """Copy the `-wal` into the file, as far as no reader needs it. Only outside a transaction."""
        engine.checkpoint(connection)

    def find_damage(self, connection: Connection) -> str | None:
        """Read the whole file; the first damage that SQLite finds."""
        return engine.quick_check(connection)

    def durability_risks(self, connection: Connection) -> list[str]:
        """None: every connection of ours is set to wait for the disk."""
        return []

    def announce_commits(self, engine: Engine) -> None:
        """By their named pipes."""
        wake_after_commits(engine, folder_of(self._path))

    def processes(self, owner: str, clock: Clock, rng: random.Random) -> ProcessFiles:
        """The processes that have lock files beside the file."""
        return ProcessFiles(self._path, owner)

    def find_living(self) -> list[str]:
        """By the lock files beside the file."""
        return find_living(self._path)
