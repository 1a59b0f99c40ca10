"""A real PostgreSQL for benchmarks, which waits for the disk at each commit, and a database for each measurement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.postgresql_server import PostgresqlServer, running_server

# What an operator would set on a small machine. fsync and synchronous_commit are on by default, but written here:
# the figures mean nothing without them.
CONFIGURATION = """
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 512MB
max_wal_size = 4GB
checkpoint_timeout = 15min
max_connections = 200
wal_compression = off
autovacuum = on
log_min_messages = fatal
"""


@contextmanager
def durable_server() -> Iterator[PostgresqlServer]:
    """Start a server whose commits wait for the disk."""
    with running_server(CONFIGURATION) as server:
        yield server


@contextmanager
def database(server: PostgresqlServer) -> Iterator[str]:
    """The address of an empty database, which is dropped at the end."""
    name = server.create()
    try:
        yield server.url(name)
    finally:
        server.drop(name)
