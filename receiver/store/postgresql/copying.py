"""Statements of a copy from or to another store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, literal_column

from receiver.store.postgresql.engine import allow_long_statements, copy_rows, run_statement
from receiver.store.schema import events

_IN_USE = """
    SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()
    AND application_name = 'tts-receiver' LIMIT 1
"""


def event_order() -> tuple[Any, ...]:
    """Expressions whose order is that of the feed."""
    return (literal_column("events.xid", BigInteger), events.c.id)


def is_in_use(connection: Connection) -> bool:
    """Whether another session of the receiver is connected to the database."""
    return bool(run_statement(connection, _IN_USE))


def prepare_reading(connection: Connection) -> None:
    """The transaction may last, and wait for the other store."""
    allow_long_statements(connection)
    run_statement(connection, "SET LOCAL idle_in_transaction_session_timeout = 0")


def insert_rows(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], first: int
) -> None:
    """By COPY. Events get positions of their own: transactions from now on are behind them (`postgresql.positions`)."""
    if table == events.name:
        columns = [*columns, "xid"]
        rows = [[*row, first + number] for number, row in enumerate(rows)]
    copy_rows(connection, table, columns, rows)
