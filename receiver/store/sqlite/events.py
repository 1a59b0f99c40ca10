"""Statements of the inbox: events, their runs, duplicates, uses of keys, and rows of audio.

A statement for the whole batch: the driver releases the interpreter's lock once, not once for each row. Its text
differs only in the number of rows, so that the driver's cache has the usual sizes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import astuple, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, case
from sqlalchemy.dialects import sqlite

from receiver.model.delivery import Delivery
from receiver.store.schema import signing_keys
from receiver.store.sqlite.engine import run_statement

if TYPE_CHECKING:
    from receiver.store.artifacts import ArtifactRow

_EVENT_COLUMNS = (
    "id", "source", "type", "key", "job_id", "origin", "payload", "body", "headers", "key_id", "skew", "received_at",
    "status",
)  # fmt: skip
"""All but the last are the first fields of a `Delivery`, in its order."""
_EVENT_FIELDS = len(_EVENT_COLUMNS) - 1
_RUN_COLUMNS = ("event_id", "handler", "state", "due_at")
_MAX_VALUES = 8000 * len(_RUN_COLUMNS)
"""SQLite allows 32,766 values in a statement. A full batch of events has fewer; its runs may have more."""

_COUNT_DUPLICATE = """
    UPDATE events SET duplicates = duplicates + 1 WHERE id = ?
    RETURNING CASE WHEN origin = ? AND body != ? THEN body END
"""
_SET_CONFLICT = "UPDATE events SET conflict = coalesce(conflict, ?) WHERE id = ?"
_RECORD_KEY_USE = sqlite.insert(signing_keys)
_RECORD_KEY_USE = _RECORD_KEY_USE.on_conflict_do_update(
    index_elements=["source", "key_id"],
    set_={
        "last_used_at": case(
            (
                _RECORD_KEY_USE.excluded.last_used_at > signing_keys.c.last_used_at,
                _RECORD_KEY_USE.excluded.last_used_at,
            ),
            else_=signing_keys.c.last_used_at,
        )
    },
)


def hold_keys(connection: Connection, keys: Collection[str]) -> None:
    """Nothing: a transaction that writes has the whole store."""


def hold_quarantines(connection: Connection, sources: Collection[str]) -> None:
    """As `hold_keys`."""


def hold_events(connection: Connection, ids: Collection[str]) -> None:
    """As `hold_keys`."""


def find_by_keys(connection: Connection, keys: Sequence[str]) -> list[Any]:
    """The query is by key alone, because SQLite scans the table for row values."""
    return run_statement(connection, _by_key(len(keys)), keys)


@lru_cache(maxsize=1024)
def _by_key(keys: int) -> str:
    marks = ", ".join(f"?{number}" for number in range(1, keys + 1))
    return (
        f"SELECT 'events', key, source, type, id, payload, status FROM events WHERE key IN ({marks}) "  # noqa: S608
        f"UNION ALL SELECT 'jobs', job_id, source, NULL, id, NULL, NULL FROM jobs "
        f"WHERE job_id IN ({marks}) AND state = 'watching'"
    )


def insert_events(connection: Connection, deliveries: Collection[Delivery]) -> None:
    """In one statement."""
    values: list[Any] = []
    for item in deliveries:
        values += item[:_EVENT_FIELDS]
        values.append("quarantined" if item.quarantined else "accepted")
    run_statement(connection, _event_insert(len(deliveries)), values)


def insert_runs(connection: Connection, deliveries: Collection[Delivery]) -> None:
    """In one statement, unless there are very many."""
    values: list[Any] = []
    for item in deliveries:
        for name in item.handlers:
            values += (item.event_id, name, "pending", item.received_at)
    for start in range(0, len(values), _MAX_VALUES):
        part = values[start : start + _MAX_VALUES]
        run_statement(connection, _run_insert(len(part) // len(_RUN_COLUMNS)), part)


@lru_cache(maxsize=1024)
def _event_insert(rows: int) -> str:
    return _insert_statement("events", _EVENT_COLUMNS, rows)


@lru_cache(maxsize=1024)
def _run_insert(rows: int) -> str:
    return _insert_statement("runs", _RUN_COLUMNS, rows)


def _insert_statement(table: str, columns: Sequence[str], rows: int) -> str:
    """OR FAIL: the rows before a refused one stay, but the exception ends the transaction with all of them. Otherwise
    SQLite would copy each page that the statement changes, to undo it alone: to a temporary file above 64 KB."""
    one = f"({', '.join('?' * len(columns))})"
    return f"INSERT OR FAIL INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * rows)}"  # noqa: S608 - constants


def insert_metadata(connection: Connection, table: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """In one statement, unless there are very many."""
    for start in range(0, len(rows), _MAX_VALUES // 4):
        part = rows[start : start + _MAX_VALUES // 4]
        run_statement(connection, _metadata_insert(table, len(part)), [value for row in part for value in row])


@lru_cache(maxsize=1024)
def _metadata_insert(table: str, rows: int) -> str:
    values = ", ".join(["(?, ?, ?)"] * rows)
    return f"INSERT INTO {table} VALUES {values} ON CONFLICT DO NOTHING"  # noqa: S608 - one of two names


def count_duplicate(connection: Connection, event_id: str, origin: str, body: bytes) -> bytes | None:
    """Most duplicates have the same body, and it is not read."""
    [(other,)] = run_statement(connection, _COUNT_DUPLICATE, (event_id, origin, body))
    found: bytes | None = other
    return found


def set_conflict(connection: Connection, event_id: str, conflict: str) -> None:
    """An earlier conflict stays."""
    run_statement(connection, _SET_CONFLICT, (conflict, event_id))


def record_key_use(connection: Connection, source: str, key_id: str, at: float) -> None:
    """One row for each key."""
    connection.execute(_RECORD_KEY_USE, {"source": source, "key_id": key_id, "first_used_at": at, "last_used_at": at})


def put_artifacts(connection: Connection, rows: Sequence[ArtifactRow]) -> None:
    """In one statement."""
    values = [value for row in rows for value in astuple(row)]
    names = tuple(field.name for field in fields(rows[0]))
    connection.exec_driver_sql(_artifacts_statement(names, len(rows)), tuple(values))


@lru_cache(maxsize=512)
def _artifacts_statement(names: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(names))})"
    return (
        f"INSERT INTO artifacts ({', '.join(names)}) VALUES {', '.join([row] * rows)} "  # noqa: S608 - our own names
        f"ON CONFLICT (event_id, n) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in names[2:])}"
    )
