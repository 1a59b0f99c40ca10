"""Statements of a copy from or to another store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, literal_column


def event_order() -> tuple[Any, ...]:
    """Expressions whose order is that of the feed."""
    return (literal_column("events.rowid", BigInteger),)


def is_in_use(connection: Connection) -> bool:
    """False: the lock files beside the store show it."""
    return False


def prepare_reading(connection: Connection) -> None:
    """Nothing: a snapshot may last."""


def insert_rows(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], first: int
) -> None:
    """In one step. Rowids follow the order of the rows."""
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own names
    connection.exec_driver_sql(statement, [tuple(row) for row in rows])
