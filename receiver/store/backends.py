"""Chooses the kind of database by the store's address."""

from __future__ import annotations

from pathlib import Path

from receiver.store.backend import Backend
from receiver.store.sqlite.backend import SqliteBackend, sqlite_path


def backend_of(url: str, base: Path, *, pooled: bool = False) -> Backend:
    """The store at an address: `postgresql://user@host/database`, or a file such as `sqlite:///data/receiver.db`, whose
    path is relative to `base`.

    Args:
        pooled: PostgreSQL is behind a pooler that gives each transaction another session.

    Raises:
        ValueError: the address is not valid, or names a database that is not supported, or a file that is `pooled`.
    """
    if url.startswith("postgresql:"):
        from receiver.store.postgresql.address import postgresql_url  # few stores need it
        from receiver.store.postgresql.backend import PostgresqlBackend

        return PostgresqlBackend(postgresql_url(url), pooled=pooled)
    if url.startswith("postgres:"):
        raise ValueError("write postgresql://, not postgres://")
    path = sqlite_path(url, base)
    if path is None:
        raise ValueError("only postgresql://… and sqlite:///… are supported")
    if pooled:
        raise ValueError("names a file, and a file has no pooler: remove store.pooled")
    return SqliteBackend(path)
