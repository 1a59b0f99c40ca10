"""Stores of tests, and what another process sees of them and does to them: the same for every kind of database.

A store is given as its file, as its address (`store.url`), or as the open `Database`. Statements have named values
(`:job`), and JSON is read. No other test uses a driver, but for those about one kind of database
(tests/unit/store/test_dialect.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Engine, Executable, Table, create_engine, insert, select, text
from sqlalchemy.pool import NullPool
from sqlalchemy.types import JSON

from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.readers import LISTING_SECONDS
from receiver.store.schema import metadata
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from tests.pgbouncer import Pooler
    from tests.postgresql_server import PostgresqlServer

Store = Path | str
"""The file or the address of a store."""
AnyStore = Store | Database

_JSON = {
    column.name: column.type
    for table in metadata.tables.values()
    for column in table.columns
    if isinstance(column.type, JSON)
}


def address_of(store: AnyStore) -> str:
    """The address of a store, as for `store.url`."""
    if isinstance(store, Database):
        backend: Any = store._backend
        if store.folder:
            return address_of(Path(store.location))
        return str(backend._url.set(drivername="postgresql").render_as_string(hide_password=False))
    return f"sqlite:///{store}" if isinstance(store, Path) else store


def open_store(store: Store, listing_seconds: float = LISTING_SECONDS) -> Database:
    """The store; its writer is not started."""
    return Database(backend_of(address_of(store), Path("/")), listing_seconds)


@contextmanager
def postgresql_store(
    server: PostgresqlServer | Pooler, listing_seconds: float = LISTING_SECONDS, *, pooled: bool = False
) -> Iterator[Database]:
    """An empty store in a database of its own at the newest schema; its writer is started."""
    with postgresql_address(server) as address:
        database = Database(backend_of(address, Path("/"), pooled=pooled), listing_seconds)
        database.start()
        try:
            yield database
        finally:
            database.close()


@contextmanager
def postgresql_address(server: PostgresqlServer | Pooler) -> Iterator[str]:
    """The address of an empty store in a database of its own at the newest schema."""
    name = server.copy()
    try:
        yield server.url(name)
    finally:
        server.drop(name)


def file_of(database: Database) -> Path:
    """The file of a store."""
    return Path(database.location)


def query(store: AnyStore, statement: str | Table, **values: Any) -> list[dict[str, Any]]:
    """The rows that another process would see: of a table, or of a statement. It never changes the store."""
    selected: Executable = select(statement) if isinstance(statement, Table) else text(statement).columns(**_JSON)
    with _engine(address_of(store), "ro").connect() as connection:
        return [dict(row) for row in connection.execute(selected, values).mappings()]


def contents_of(store: Store) -> str:
    """All that is stored: the bytes of the file, or every row."""
    if isinstance(store, Path):
        return str(store.read_bytes())
    return "".join(str(query(store, table)) for table in metadata.sorted_tables)


def execute(store: AnyStore, statement: str | Executable, **values: Any) -> None:
    """What another process might do."""
    with _engine(address_of(store), "rw").begin() as connection:
        connection.execute(text(statement) if isinstance(statement, str) else statement, values)


def insert_rows(store: AnyStore, table: Table, *rows: dict[str, Any]) -> None:
    """Rows that another process might add, in one transaction."""
    with _engine(address_of(store), "rw").begin() as connection:
        connection.execute(insert(table), rows)


def require_sound(file: Path) -> None:
    """Fail if a file of SQLite's is damaged, or a row in it refers to one that is not there."""
    assert [list(row.values()) for row in query(file, "PRAGMA integrity_check")] == [["ok"]]
    assert query(file, "PRAGMA foreign_key_check") == []


class WriteLock:
    """A transaction of another process that lets nobody write, from now until `release`."""

    def __init__(self, store: AnyStore) -> None:
        self._connection = _engine(address_of(store), "rw").connect()
        if self._connection.dialect.name == "sqlite":
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            tables = ", ".join(metadata.tables)
            self._connection.exec_driver_sql(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")

    def release(self) -> None:
        """End the transaction. Once or more often."""
        if not self._connection.closed:
            self._connection.exec_driver_sql("ROLLBACK")
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


@cache
def _engine(address: str, mode: str) -> Engine:
    """Connects for each use: nothing is kept open that a test would find."""
    if not address.startswith("sqlite:"):
        return create_engine(address.replace("postgresql:", "postgresql+psycopg:", 1), poolclass=NullPool)
    file = address.removeprefix("sqlite:///")
    return create_engine(
        f"sqlite:///file:{file}?mode={mode}&uri=true",
        poolclass=NullPool,
        connect_args={"timeout": PATIENCE, "check_same_thread": False},
    )
