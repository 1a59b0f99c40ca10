"""A real PostgreSQL for benchmarks, which waits for the disk at each commit, and a database for each measurement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from tests.postgresql_server import PostgresqlServer, running_server

# What an operator would set on a small machine. fsync and synchronous_commit are on by default, but written here: the
# figures mean nothing without them. The times of commits are the ends of measurements.
CONFIGURATION = """
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 512MB
max_wal_size = 4GB
checkpoint_timeout = 15min
max_connections = 200
track_commit_timestamp = on
wal_compression = off
autovacuum = on
log_min_messages = fatal
"""


@contextmanager
def durable_server() -> Iterator[PostgresqlServer]:
    """Start a server whose commits wait for the disk."""
    with running_server(CONFIGURATION) as server:
        yield server


def last_commit(url: str, table: str) -> float:
    """When the last of a table's rows was committed, unix seconds."""
    newest = sql.SQL("SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 FROM {}")
    with psycopg.connect(url) as connection:
        row = connection.execute(newest.format(sql.Identifier(table))).fetchone()
    assert row is not None
    return float(row[0])


@contextmanager
def database(server: PostgresqlServer) -> Iterator[str]:
    """The address of an empty database, which is dropped at the end."""
    name = server.create()
    try:
        yield server.url(name)
    finally:
        server.drop(name)
