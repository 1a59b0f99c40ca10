"""Chooses the kind of database by the store's address."""

from __future__ import annotations

from pathlib import Path

from receiver.store.backend import Backend
from receiver.store.sqlite.backend import SqliteBackend, sqlite_path


def backend_of(url: str, base: Path) -> Backend:
    """The store at an address such as `sqlite:///data/receiver.db`; a relative path is relative to `base`.

    Raises:
        ValueError: the address is not valid, or names a database that is not supported.
    """
    path = sqlite_path(url, base)
    if path is None:
        raise ValueError("only sqlite:///… is supported by this release")
    return SqliteBackend(path)
