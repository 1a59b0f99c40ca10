"""Stores of tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.readers import LISTING_SECONDS

if TYPE_CHECKING:
    from tests.postgresql_server import PostgresqlServer


def open_store(path: Path, listing_seconds: float = LISTING_SECONDS) -> Database:
    """The store in this file; the writer is not started."""
    return Database(backend_of(f"sqlite:///{path}", path.parent), listing_seconds)


@contextmanager
def postgresql_store(server: PostgresqlServer, listing_seconds: float = LISTING_SECONDS) -> Iterator[Database]:
    """An empty store in a database of its own at the newest schema; its writer is started."""
    name = server.copy()
    database = Database(backend_of(server.url(name), Path("/")), listing_seconds)
    database.start()
    try:
        yield database
    finally:
        database.close()
        server.drop(name)


def file_of(database: Database) -> Path:
    """The file of a store."""
    return Path(database.location)
