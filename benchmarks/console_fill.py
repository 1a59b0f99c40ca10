"""Fill a store with all that pages of the console show: beside events and runs, audio, errors, counts and changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table

from benchmarks.grown_store import SOURCES
from benchmarks.history_fill import History, fill, run_statements, sql_values
from receiver.store import schema
from receiver.store.rollups import HOUR, MINUTE, RETENTION_SECONDS, Kind
from tests.stores import insert_rows

FAILED_OF = 50
"""Of how many events one run is dead; half of them after three attempts."""
AUDIT_ENTRIES, OPERATIONS = 50_000, 5_000
_EVENT = "'evt_' || {id}"
_FAILS = f"n % {FAILED_OF} = 7"
_REASON = "CASE n % 3 WHEN 0 THEN 'no_such_voice' WHEN 1 THEN 'no_order' END"
_KIND = "CASE n % 3 WHEN 2 THEN 'ConnectTimeout' ELSE 'rejected' END"
_ERROR = "'feeds.example.com: episode ' || n || ' was refused, or there was no answer within 10 s.'"

_STATEMENTS = (
    f"""INSERT INTO artifacts (event_id, n, address, bytes, sha256, content_type, format, duration, sample_rate,
        channels, fetched_at, fetch_seconds)
    {{numbers}} SELECT {_EVENT}, 0, '/srv/tts/audio/' || n || '.mp3', 1600000 + n, {{sha256}}, 'audio/mpeg', 'mp3',
        100.0 + n % 900, 24000, 1, {{at}} + 1, 0.7 FROM numbers WHERE n % 10 < 9""",
    f"""UPDATE runs SET state = 'dead', attempt = 3, error = 'It failed.', error_kind = 'rejected', reason = 'no_order'
    WHERE event_id IN ({{numbers}} SELECT {_EVENT} FROM numbers WHERE {_FAILS} AND n % 3 = 1)""",
    f"""UPDATE runs SET state = 'dead', attempt = 3, error = 'No answer.', error_kind = 'ConnectTimeout', reason = NULL
    WHERE event_id IN ({{numbers}} SELECT {_EVENT} FROM numbers WHERE {_FAILS} AND n % 3 <> 1)""",
    f"""INSERT INTO attempts (event_id, handler, number, started, ended, outcome, error, error_kind, reason)
    {{numbers}}, numbered (number) AS (SELECT 2 UNION ALL SELECT 3)
    SELECT {_EVENT}, {{handler}}, number, {{at}} + 60 * number, {{at}} + 60 * number + 10, 'failed', {_ERROR}, {_KIND},
        {_REASON} FROM numbers CROSS JOIN numbered WHERE {_FAILS}""",
    f"""INSERT INTO run_tracebacks (event_id, handler, attempt, text)
    {{numbers}} SELECT {_EVENT}, {{handler}}, 3, 'Traceback: ' || {_ERROR} FROM numbers WHERE {_FAILS}""",
    """UPDATE jobs SET state = 'unknown', error = 'No answer came.', error_code = 'no_answer' WHERE id IN (
    {numbers} SELECT 'job_' || {id} FROM numbers WHERE n % 5000 = 0)""",
    f"""UPDATE events SET status = 'quarantined' WHERE id IN (
    {{numbers}} SELECT {_EVENT} FROM numbers WHERE n % 5000 = 3)""",
)  # fmt: skip
_SHA256 = {"sqlite": "printf('%064x', n)", "postgresql": "lpad(to_hex(n), 64, '0')"}


def fill_for_console(url: str, events: int, handler: str) -> None:
    """Create the store at `url`.

    Args:
        handler: of all runs.
    """
    history = History(events, handler=handler, indexes_customers=True)
    now = time.time()
    fill(url, history, now)
    kind = url.partition(":")[0]
    values = {**sql_values(kind, history, now), "sha256": _SHA256[kind], "handler": f"'{handler}'"}
    statements = [text.format(**values) for text in _STATEMENTS]
    rows = {
        schema.rollups: list(_counted(now, handler)), schema.audit_entries: list(_changes(now)),
        schema.operations: list(_operations(now)), schema.source_state: list(_sources(now)),
    }  # fmt: skip
    for table, of_table in rows.items():
        _insert(url, table, of_table)
    run_statements(url, statements)


def _insert(url: str, table: Table, rows: list[dict[str, Any]], at_once: int = 20_000) -> None:
    for begin in range(0, len(rows), at_once):
        insert_rows(url, table, *rows[begin : begin + at_once])


def _counted(now: float, handler: str) -> Iterator[dict[str, Any]]:
    """Counts of every minute and hour that are kept: of deliveries by outcome, attempts, their durations, and polls."""
    labels = [
        *((Kind.DELIVERIES, source, label) for source in SOURCES for label in ("accepted", "duplicate", "mismatch")),
        *((Kind.EVENTS, source, label) for source in SOURCES for label in ("job.completed", "job.failed")),
        *((Kind.RUNS, handler, label) for label in ("succeeded", "failed", "rejected", "timeout")),
        *((Kind.RUN_SECONDS, handler, label) for label in ("0.01", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "10.0")),
        *((kind, source, "ended") for kind in (Kind.POLLS, Kind.SUBMITS) for source in SOURCES),
    ]
    for seconds in (MINUTE, HOUR):
        first, last = (now - RETENTION_SECONDS[seconds]) // seconds + 1, now // seconds
        for period in range(int(first), int(last)):
            for number, (kind, name, label) in enumerate(labels):
                yield {
                    "seconds": seconds, "at": float(period * seconds), "kind": str(kind), "name": name, "label": label,
                    "count": 1 + (period + number) % 40,
                }  # fmt: skip


def _changes(now: float) -> Iterator[dict[str, Any]]:
    operations = ("replay", "replay_runs", "cancel_job", "edit", "release", "speak", "log_in")
    for number in range(AUDIT_ENTRIES):
        at = round(now - 60.0 * (AUDIT_ENTRIES - number), 3)
        yield {
            "id": f"chg_{int(at * 1000):012x}{number:020x}", "at": at, "actor": f"operator-{number % 9}",
            "via": ("console", "api", "cli")[number % 3], "operation": operations[number % 7], "changed": number % 90,
            "state": "completed", "updated_at": at, "filter": {"handler": "narrate", "error_kind": "rejected"},
        }  # fmt: skip


def _operations(now: float) -> Iterator[dict[str, Any]]:
    for number in range(OPERATIONS):
        at = round(now - 600.0 * (OPERATIONS - number), 3)
        yield {
            "id": f"chg_{int(at * 1000):012x}{number + AUDIT_ENTRIES:020x}", "at": at, "operation": "replay_runs",
            "state": "completed", "matching": 90, "changed": 88, "refused": 2, "updated_at": at + 4,
            "entry": {"actor": "operator-1", "via": "console", "filter": {"reason": "no_order"}},
            "criteria": {"reason": "no_order"},
        }  # fmt: skip


def _sources(now: float) -> Iterator[dict[str, Any]]:
    for number, source in enumerate(SOURCES):
        paused = number == 1
        yield {
            "source": source, "pause_until": now + 86_000 * paused, "pause_seconds": 86_400 * paused,
            "reason": "rate_limited" if paused else "", "heard_at": now - 30 * number,
        }  # fmt: skip
