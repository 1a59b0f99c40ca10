"""Fill a store with events and their runs by a few statements, each for all rows, in SQLite or in PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.grown_store import SOURCES
from benchmarks.processes import SECRET
from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.migrate import migrate

DAYS = 20
"""The events were received during this number of days, until a minute ago."""
UNFINISHED = 100
"""Open events, and as many dead ones, in every store of finished events."""
CUSTOMERS = 5000
"""The metadata of event n has `customer`: `customer-` and n modulo this."""
CONFIG = "".join(f'[sources.{name}]\nprovider = "aitts"\nsigning_secrets = ["{SECRET}"]\n' for name in SOURCES)
"""The sources of the events, as TOML."""


@dataclass(frozen=True)
class History:
    """What a store has: one run for each event, finished but for a few.

    Attributes:
        days: during which the events were received, until a minute ago.
        handler: of the runs.
        reason: every run is dead, for this reason; empty for succeeded runs.
        indexes_customers: whether events can be searched by `customer`.
    """

    events: int
    days: float = DAYS
    handler: str = "note_start"
    reason: str = ""
    indexes_customers: bool = False

    @property
    def step(self) -> float:
        """The seconds between two events."""
        return (self.days * 86_400.0 - 60) / self.events


_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count})",
    "postgresql": "WITH numbers (n) AS (SELECT generate_series(0, {count} - 1))",
}
_ID = {
    "sqlite": "printf('%012x%020x', CAST({at} * 1000 AS INTEGER), n)",
    "postgresql": "lpad(to_hex(({at} * 1000)::bigint), 12, '0') || lpad(to_hex(n), 20, '0')",
}
_BYTES = {"sqlite": "CAST({text} AS BLOB)", "postgresql": "convert_to({text}, 'UTF8')"}
_JSON = {"sqlite": "{text}", "postgresql": "({text})::json"}
_AT = "({begin} + n * {step})"
_EVENT = "'evt_' || {id}"
_SOURCE = "CASE n % 4 " + " ".join(f"WHEN {n} THEN '{name}'" for n, name in enumerate(SOURCES)) + " END"
_SUCCEEDED = "CASE n % {apart} WHEN 0 THEN 'pending' WHEN 1 THEN 'dead' ELSE 'succeeded' END"
_PENDING = "n % {apart} = 0"
_HEADERS = """'[["content-type", "application/json"], ["x-tts-signature", "t=1,v1=00"]]'"""
_CUSTOMER = f"'customer-' || (n % {CUSTOMERS})"
_PAYLOAD = (
    """'{{"status": "completed", "chars_charged": 12, "metadata": {{"episode": "1", "customer": "' || """
    + _CUSTOMER
    + """ || '"}}}}'"""
)
_BODY = "'" + '{{"event": "job.completed", "data": {{"text": "' + "A story. " * 40 + '"}}}}' + "'"

_STATEMENTS = (
    f"""INSERT INTO events (id, source, type, key, job_id, origin, status, received_at, headers, payload, body)
    {{numbers}} SELECT {_EVENT}, {_SOURCE}, CASE WHEN n % 10 = 9 THEN 'job.failed' ELSE 'job.completed' END,
        'job-' || n, 'job-' || n, 'webhook', 'accepted', {_AT}, {_HEADERS}, {{payload}}, {{body}} FROM numbers""",
    f"""INSERT INTO runs (event_id, handler, state, attempt, due_at, wait_seconds, started_at, finished_at, error,
        error_kind, reason)
    {{numbers}} SELECT {_EVENT}, {{handler}}, {{state}}, 1, {_AT} + CASE WHEN {{pending}} THEN 9e8 ELSE 0 END,
        CASE WHEN {{pending}} THEN 9e8 ELSE 0 END, {_AT}, CASE WHEN {{pending}} THEN NULL ELSE {_AT} END, {{error}}
    FROM numbers""",
    f"""INSERT INTO attempts (event_id, handler, number, started, ended, outcome)
    {{numbers}} SELECT {_EVENT}, {{handler}}, 1, {_AT}, {_AT}, {{outcome}} FROM numbers""",
    f"""INSERT INTO jobs (id, source, job_id, state, created_at, due_at, deadline_at, ended_at, event_id)
    {{numbers}} SELECT 'job_' || {{id}}, {_SOURCE}, 'job-' || n, 'completed', {_AT}, {_AT}, {_AT}, {_AT}, {_EVENT}
    FROM numbers WHERE n % 5 = 0""",
)  # fmt: skip
_INDEX = (
    f"INSERT INTO event_metadata {{numbers}} SELECT {_EVENT}, 'customer', {_CUSTOMER} FROM numbers",
    "INSERT INTO metadata_keys (key, since, completed_at) VALUES ('customer', 0, 0)",
)


def sql_values(kind: str, history: History, now: float) -> dict[str, str]:
    """The expressions of the statements that name the n-th event: its time, the end of its id, and all numbers.

    Args:
        kind: of the database.
        now: unix seconds.
    """
    begin = int(now - history.days * 86_400.0)
    values = {"count": str(history.events), "begin": f"{begin}.0", "step": repr(history.step)}
    values["at"] = _AT.format(**values)
    values["id"] = _ID[kind].format(**values)
    values["numbers"] = _NUMBERS[kind].format(**values)
    return values


def fill(url: str, history: History, now: float | None = None) -> None:
    """Create the store at `url`; `now` as for `sql_values`."""
    database = Database(backend_of(url, Path("/")))
    migrate(database)
    database.close()
    kind = url.partition(":")[0]
    apart = max(2, history.events // UNFINISHED)
    values = sql_values(kind, history, time.time() if now is None else now)
    values["payload"] = _JSON[kind].format(text=_PAYLOAD.format())
    values["body"] = _BYTES[kind].format(text=_BODY.format())
    values["handler"] = f"'{history.handler}'"
    reason = f"'{history.reason}'"
    values["outcome"] = "'rejected'" if history.reason else "'succeeded'"
    values["state"] = "'dead'" if history.reason else _SUCCEEDED.format(apart=apart)
    values["pending"] = "1 = 0" if history.reason else _PENDING.format(apart=apart)
    values["error"] = f"{reason}, 'rejected', {reason}" if history.reason else "NULL, NULL, NULL"
    statements = [text.format(**values) for text in (*_STATEMENTS, *(_INDEX if history.indexes_customers else ()))]
    run_statements(url, statements)


def run_statements(url: str, statements: Sequence[str]) -> None:
    """Execute statements that fill the store at `url`, and leave it as it would be after a while."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as store, store:
            store.execute("PRAGMA cache_size=-200000")
            for statement in statements:
                store.execute(statement)
        return
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in [*statements, "VACUUM ANALYZE", "CHECKPOINT"]:
            connection.execute(statement.encode())
