"""Stores of tests."""

from __future__ import annotations

from pathlib import Path

from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.readers import LISTING_SECONDS


def open_store(path: Path, listing_seconds: float = LISTING_SECONDS) -> Database:
    """The store in this file; the writer is not started."""
    return Database(backend_of(f"sqlite:///{path}", path.parent), listing_seconds)


def file_of(database: Database) -> Path:
    """The file of a store."""
    return Path(database.location)
