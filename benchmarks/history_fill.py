"""Fill a store with finished events by a few statements, each for all rows, in SQLite or in PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import psycopg

from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.migrate import migrate

DAYS = 20
"""The events were received during this number of days, until a minute ago."""
UNFINISHED = 100
"""Open events, and as many dead ones, in every store."""

_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count})",
    "postgresql": "WITH numbers (n) AS (SELECT generate_series(0, {count} - 1))",
}
_ID = {
    "sqlite": "printf('%012x%020x', CAST({at} * 1000 AS INTEGER), n)",
    "postgresql": "lpad(to_hex(({at} * 1000)::bigint), 12, '0') || lpad(to_hex(n), 20, '0')",
}
_BYTES = {"sqlite": "CAST({text} AS BLOB)", "postgresql": "convert_to({text}, 'UTF8')"}
_AT = "({begin} + n * {step})"
_EVENT = "'evt_' || {id}"
_SOURCE = "CASE n % 4 WHEN 0 THEN 'aitts' WHEN 1 THEN 'studio' WHEN 2 THEN 'archive' ELSE 'voices' END"
_STATE = "CASE n % {apart} WHEN 0 THEN 'pending' WHEN 1 THEN 'dead' ELSE 'succeeded' END"
_HEADERS = """'[["content-type", "application/json"], ["x-tts-signature", "t=1,v1=00"]]'"""
_PAYLOAD = """'{{"status": "completed", "chars_charged": 12, "metadata": {{"episode": "1", "user": "benchmark"}}}}'"""
_BODY = "'" + '{{"event": "job.completed", "data": {{"text": "' + "A story. " * 40 + '"}}}}' + "'"

_STATEMENTS = (
    f"""INSERT INTO events (id, source, type, key, job_id, origin, status, received_at, headers, payload, body)
    {{numbers}} SELECT {_EVENT}, {_SOURCE}, CASE WHEN n % 10 = 9 THEN 'job.failed' ELSE 'job.completed' END,
        'job-' || n, 'job-' || n, 'webhook', 'accepted', {_AT}, {_HEADERS}, {_PAYLOAD}, {{body}} FROM numbers""",
    f"""INSERT INTO runs (event_id, handler, state, attempt, due_at, wait_seconds, started_at, finished_at)
    {{numbers}} SELECT {_EVENT}, 'note_start', {_STATE}, 1, {_AT} + CASE WHEN n % {{apart}} = 0 THEN 9e8 ELSE 0 END,
        CASE WHEN n % {{apart}} = 0 THEN 9e8 ELSE 0 END, {_AT}, CASE WHEN n % {{apart}} = 0 THEN NULL ELSE {_AT} END
    FROM numbers""",
    f"""INSERT INTO attempts (event_id, handler, number, started, ended, outcome)
    {{numbers}} SELECT {_EVENT}, 'note_start', 1, {_AT}, {_AT}, 'succeeded' FROM numbers""",
    f"""INSERT INTO jobs (id, source, job_id, state, created_at, due_at, deadline_at, ended_at, event_id)
    {{numbers}} SELECT 'job_' || {{id}}, {_SOURCE}, 'job-' || n, 'completed', {_AT}, {_AT}, {_AT}, {_AT}, {_EVENT}
    FROM numbers WHERE n % 5 = 0""",
)  # fmt: skip


def fill(url: str, count: int) -> float:
    """Create the store at `url` with `count` events.

    Returns:
        The seconds between two events.
    """
    database = Database(backend_of(url, Path("/")))
    migrate(database)
    database.close()
    kind = url.partition(":")[0]
    now = time.time()
    begin, step = now - DAYS * 86_400.0, (DAYS * 86_400.0 - 60) / count
    values = {"count": count, "begin": repr(begin), "step": repr(step), "apart": max(2, count // UNFINISHED)}
    values["at"] = _AT.format(**values)
    values["id"] = _ID[kind].format(**values)
    values["numbers"] = _NUMBERS[kind].format(**values)
    values["body"] = _BYTES[kind].format(text=_BODY.format())
    statements = [statement.format(**values) for statement in _STATEMENTS]
    if kind == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as store, store:
            store.execute("PRAGMA cache_size=-200000")
            for statement in statements:
                store.execute(statement)
        return step
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in [*statements, "VACUUM ANALYZE", "CHECKPOINT"]:
            connection.execute(statement.encode())
    return step
