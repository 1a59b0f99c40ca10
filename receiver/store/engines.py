"""Connections to the store's file: write-ahead logging, durable commits, explicit transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.pool import QueuePool

from receiver.paths import setting_path


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
        connection.execute("PRAGMA foreign_keys=ON")
        if not writes:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        run_statement(connection, "BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def wait_for_lock(connection: Connection, seconds: float) -> None:
    """Set how long the connection waits for another process's transaction. Only outside a transaction."""
    _driver(connection).execute(f"PRAGMA busy_timeout={round(seconds * 1000)}")


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
        sqlalchemy.exc.OperationalError: the store cannot be written.
    """
    statement = "PRAGMA wal_checkpoint(PASSIVE)"
    try:
        _driver(connection).execute(statement).fetchall()
    except sqlite3.Error as error:
        raise exc.OperationalError(statement, None, error) from error


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
