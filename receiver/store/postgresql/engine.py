"""Connections to PostgreSQL, and statements that pass SQLAlchemy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, exc


def postgresql_engine(url: str, lock_seconds: float, *, writes: bool) -> Engine:
    """Connections whose transactions are READ COMMITTED and may write, or are read-only snapshots."""
    level = "READ COMMITTED" if writes else "REPEATABLE READ"
    engine = create_engine(url, pool_size=4, max_overflow=0, isolation_level=level)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # SET LOCAL, because what a session sets leaks to other clients of a pooler.
        run_statement(connection, f"SET LOCAL lock_timeout = {round(lock_seconds * 1000)}")
        if not writes:
            run_statement(connection, "SET TRANSACTION READ ONLY")

    return engine


def run_statement(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """Execute a statement with the driver itself, in the connection's transaction; return all rows.

    Raises:
        DBAPIError: as from SQLAlchemy.
    """
    driver: Any = connection.connection.driver_connection
    try:
        cursor = driver.execute(statement, parameters)
        return cursor.fetchall() if cursor.description is not None else []
    except psycopg.Error as error:
        raise exc.DBAPIError.instance(
            statement,
            None,
            error,
            psycopg.Error,
            dialect=connection.dialect,  # type: ignore[arg-type]
        ) from error
