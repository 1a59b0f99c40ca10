"""Statements of the inbox: events, their runs, duplicates, uses of keys, and rows of audio.

Each has one text, whatever the batch: a typed array for each column.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from receiver.model.delivery import Delivery
from receiver.store.postgresql.arrays import binaries, numbers, texts
from receiver.store.postgresql.engine import run_statement

if TYPE_CHECKING:
    from receiver.store.artifacts import ArtifactRow

# The inner query sorts, so that two transactions never wait for each other.
_HOLD = """
    SELECT pg_advisory_xact_lock(number) FROM (
        SELECT DISTINCT hashtextextended(name, {seed}) AS number FROM unnest(%s::text[]) AS name
        ORDER BY number OFFSET 0
    ) AS held
"""
_HOLD_KEYS = _HOLD.format(seed=0)
_HOLD_QUARANTINES = _HOLD.format(seed=3)
_HOLD_EVENTS = "SELECT 1 FROM events WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
# The stored events are locked, so that they are not deleted before their duplicate is counted. Usually there are none.
_BY_KEY = """
    WITH known AS MATERIALIZED (
        SELECT key, source, type, id, payload::text AS payload, status FROM events WHERE key = ANY(%s)
        ORDER BY id FOR KEY SHARE
    )
    SELECT 'events', key, source, type, id, payload, status FROM known
    UNION ALL SELECT 'jobs', job_id, source, NULL, id, NULL, NULL FROM jobs
    WHERE job_id = ANY(%s) AND state = 'watching'
"""
# The columns of an event in the order of a delivery's fields.
_ARRAYS: tuple[Callable[[tuple[Any, ...]], str], ...] = (
    *[texts] * 7, binaries, texts, texts, numbers, numbers
)  # fmt: skip
_INSERT_EVENTS = """
    INSERT INTO events (
        id, source, type, key, job_id, origin, payload, body, headers, key_id, skew, received_at, status
    )
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::json[],
        %s::bytea[], %s::json[], %s::text[], %s::float8[], %s::float8[], %s::text[])
"""
_INSERT_RUNS = """
    INSERT INTO runs (event_id, handler, state, due_at)
    SELECT event_id, handler, 'pending', due_at
    FROM unnest(%s::text[], %s::text[], %s::float8[]) AS new (event_id, handler, due_at)
"""
_INSERT_METADATA = """
    INSERT INTO {table} SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING
"""
_COUNT_DUPLICATE = """
    UPDATE events SET duplicates = duplicates + 1 WHERE id = %s
    RETURNING CASE WHEN origin = %s AND body != %s THEN body END
"""
_SET_CONFLICT = "UPDATE events SET conflict = coalesce(conflict, %s) WHERE id = %s"
# A use that another process is recording now is as good: nobody waits for its commit.
_RECORD_KEY_USE = """
    WITH free AS MATERIALIZED (
        SELECT source, key_id FROM signing_keys WHERE source = %s AND key_id = %s FOR NO KEY UPDATE SKIP LOCKED
    ), recorded AS (
        UPDATE signing_keys SET last_used_at = greatest(last_used_at, %s) FROM free
        WHERE signing_keys.source = free.source AND signing_keys.key_id = free.key_id
    )
    INSERT INTO signing_keys (source, key_id, first_used_at, last_used_at)
    SELECT %s, %s, %s, %s WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE source = %s AND key_id = %s)
    ON CONFLICT (source, key_id) DO NOTHING
"""


def hold_keys(connection: Connection, keys: Collection[str]) -> None:
    """By advisory locks of their hashes, which end with the transaction."""
    run_statement(connection, _HOLD_KEYS, (texts(keys),))


def hold_quarantines(connection: Connection, sources: Collection[str]) -> None:
    """By advisory locks, as `hold_keys`."""
    run_statement(connection, _HOLD_QUARANTINES, (list(sources),))


def hold_events(connection: Connection, ids: Collection[str]) -> None:
    """By locks of their rows."""
    run_statement(connection, _HOLD_EVENTS, (list(ids),))


def find_by_keys(connection: Connection, keys: Sequence[str]) -> list[Any]:
    """A statement of its own after the locks, so that it sees what was committed before it had them."""
    hold_keys(connection, keys)
    array = texts(keys)
    return run_statement(connection, _BY_KEY, (array, array))


def insert_events(connection: Connection, deliveries: Collection[Delivery]) -> None:
    """In one statement."""
    columns = zip(*(item[: len(_ARRAYS)] for item in deliveries), strict=True)
    arrays = [array(column) for array, column in zip(_ARRAYS, columns, strict=True)]
    status = texts(["quarantined" if item.quarantined else "accepted" for item in deliveries])
    run_statement(connection, _INSERT_EVENTS, (*arrays, status))


def insert_runs(connection: Connection, deliveries: Collection[Delivery]) -> None:
    """In one statement."""
    rows = [(item.event_id, name, item.received_at) for item in deliveries for name in item.handlers]
    if rows:
        ids, names, times = zip(*rows, strict=True)
        run_statement(connection, _INSERT_RUNS, (texts(ids), texts(names), numbers(times)))


def insert_metadata(connection: Connection, table: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """In one statement."""
    if rows:
        columns = zip(*rows, strict=True)
        run_statement(connection, _INSERT_METADATA.format(table=table), tuple(map(texts, columns)))


def count_duplicate(connection: Connection, event_id: str, origin: str, body: bytes) -> bytes | None:
    """Most duplicates have the same body, and it is not sent."""
    [(other,)] = run_statement(connection, _COUNT_DUPLICATE, (event_id, origin, body))
    return None if other is None else bytes(other)


def set_conflict(connection: Connection, event_id: str, conflict: str) -> None:
    """An earlier conflict stays."""
    run_statement(connection, _SET_CONFLICT, (conflict, event_id))


def record_key_use(connection: Connection, source: str, key_id: str, at: float) -> None:
    """One row for each key."""
    key = source, key_id
    run_statement(connection, _RECORD_KEY_USE, (*key, at, *key, at, at, *key))


def put_artifacts(connection: Connection, rows: Sequence[ArtifactRow]) -> None:
    """One statement for each row, in one order: audio is recorded a few files at a time."""
    names = type(rows[0]).__slots__
    changed = ", ".join(f"{name} = excluded.{name}" for name in names[2:])
    statement = (
        f"INSERT INTO artifacts ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) "  # noqa: S608
        f"ON CONFLICT (event_id, n) DO UPDATE SET {changed}"
    )
    for row in sorted(rows, key=lambda row: (row.event_id, row.n)):
        run_statement(connection, statement, astuple(row))
