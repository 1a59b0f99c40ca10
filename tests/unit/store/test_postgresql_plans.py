"""On a store in PostgreSQL with much history, every public function of the store reads few rows of it.

Plans are chosen by costs, so that what counts is what was read: the server counts scans, rows and entries of indexes of
a transaction. Entries, because a search that finds all in the index reads no row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, text

from receiver.store import audit, feed, inbox, jobs, metadata_index, search_plans
from receiver.store.database import Database
from tests.unit.store.conftest import NOW, MakeDelivery
from tests.unit.store.test_no_scans import ENTRY, NAMED, PAIRS, PUBLIC, REQUEST, _all_steps, _calls, claims

pytestmark = pytest.mark.postgresql

HISTORY = 5_000
MAX_ROWS_READ = 200
"""Rows or entries that a call may read of one table: more than a few pages, and far below the history."""
MAX_ROWS: dict[Callable[..., Any], int] = {
    feed.cursor_of: 10_001,  # up to a fixed number
}
"""Of functions that may read more. None of them scans a table."""
MAX_CALLS = 16
"""Lists have a call for each combination of filters: so many of them, evenly chosen."""

_SOURCE = f"CASE WHEN n <= {HISTORY // 2} THEN 'aitts' ELSE 'other' END"
"""Half of the history is older than all of the other half, so that an index of ids does not find it."""
_FILL = """
    INSERT INTO events (id, source, type, key, job_id, origin, status, received_at, headers, payload, body)
    SELECT 'evt_' || lpad((n + 1000)::text, 32, '0'), {source}, 'job.completed', 'k' || n, 'k' || n, 'webhook',
        'accepted', 1, '[]', '{}', '' FROM generate_series(1, {rows}) n;
    INSERT INTO runs (event_id, handler, state, due_at, attempt, started_at, finished_at)
    SELECT id, 'save_audio', 'succeeded', 1, 1, 1, 1 FROM events WHERE received_at = 1;
    INSERT INTO event_metadata SELECT id, pair, {value} FROM events, unnest(ARRAY['customer', 'project']) AS pair
    WHERE received_at = 1;
    INSERT INTO attempts (event_id, handler, number, started, ended, outcome)
    SELECT event_id, handler, 1, 1, 1, 'succeeded' FROM runs WHERE due_at = 1;
    INSERT INTO jobs (id, source, job_id, state, created_at, due_at, deadline_at, ended_at, event_id)
    SELECT 'old_' || n, {source}, 'k' || n, 'completed', 1, 1, 1, n, 'evt_' || lpad((n + 1000)::text, 32, '0')
    FROM generate_series(1, {rows}) n;
    INSERT INTO audit_entries (id, at, actor, via, operation, changed, state, updated_at, filter)
    SELECT 'chg_' || lpad(n::text, 32, '0'), 1, CASE WHEN {source} = 'aitts' THEN 'app' ELSE 'other' END, 'api',
        CASE WHEN {source} = 'aitts' THEN 'replay' ELSE 'speak' END, 1, 'completed', 1, '{}'
    FROM generate_series(1, {rows}) n;
    INSERT INTO job_metadata SELECT id, pair, {value} FROM jobs, unnest(ARRAY['customer', 'project']) AS pair
    WHERE created_at = 1;
    INSERT INTO metadata_keys (key, since, completed_at) VALUES ('customer', 1, 1), ('project', 1, 1)
    ON CONFLICT DO NOTHING
"""
_VALUE = "CASE WHEN right(id, 3) = '000' AND pair = 'customer' THEN 'acme' ELSE 'globex' END"
"""Nearly all of the history has the same values, and a few rows have another one."""
_READ = text("""
    SELECT relname, seq_scan, seq_tup_read + (
        SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid))::int FROM pg_index WHERE indrelid = relid
    ) FROM pg_stat_xact_user_tables WHERE relname IN (
        'events', 'runs', 'jobs', 'attempts', 'event_metadata', 'job_metadata', 'audit_entries'
    )
""")


class _RollBack(Exception):
    """Ends a transaction without changes."""


def read_rows(database: Database, function: Callable[[Connection], Any]) -> dict[str, tuple[int, int]]:
    """By table, the scans from end to end, and the rows or entries that a function reads. Nothing is changed."""
    found: dict[str, tuple[int, int]] = {}

    def run(connection: Connection) -> None:
        before = {row[0]: (row[1], row[2]) for row in connection.execute(_READ)}
        function(connection)
        for name, scans, rows in connection.execute(_READ):
            found[name] = scans - before[name][0], rows - before[name][1]
        raise _RollBack

    with pytest.raises(_RollBack):
        database.transact(run)
    return found


@pytest.fixture(params=["before", "after"])
def grown(database: Database, delivery: MakeDelivery, request: pytest.FixtureRequest) -> Database:
    """A few open rows of everything, and a long history; analysed before the history grew, or after."""

    def fill(connection: Connection) -> None:
        for statement in (
            _FILL.replace("{rows}", str(HISTORY)).replace("{source}", _SOURCE).replace("{value}", _VALUE).split(";")
        ):
            connection.execute(text(statement))

    def analyse() -> None:
        with database._writer_engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("VACUUM ANALYZE")

    def add(connection: Connection) -> None:
        first = delivery("first", handlers=("save_audio", "notes"), indexed=PAIRS)
        second = delivery("second", type="job.failed", handlers=("notes",))
        inbox.accept(connection, [first, second, delivery("third", quarantined=True)])
        jobs.watch(connection, "job_1", "aitts", "watched", NOW, NOW, NOW + 60)
        metadata_index.declare_keys(connection, ["customer"], NOW, NOW)
        metadata_index.complete_keys(connection, ["customer"], NOW)
        claims.claim(connection, REQUEST)
        audit.add(connection, ENTRY, 1, NOW)

    database.transact(add)
    steps = (analyse, partial(database.transact, fill))
    for step in steps if request.param == "before" else steps[::-1]:
        step()
    return database


def test_no_function_of_the_store_reads_history(
    grown: Database, delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_plans, "COUNT_LIMITS", (10, 20))  # candidates are counted up to a fixed number
    scan = read_rows(grown, lambda connection: connection.execute(text("SELECT count(body) FROM events")).all())
    assert scan["events"][0] == 1, "the check finds what it is for"
    assert scan["events"][1] > HISTORY
    wrong = {}
    for name, function in sorted({**PUBLIC, "clocks.steps": _all_steps}.items()):
        calls = _calls(delivery).get(function, [])  # that every one has its calls is another test
        for arguments in calls[:: 1 + len(calls) // MAX_CALLS]:
            call = partial(_call, function=function, arguments=arguments)
            found = read_rows(grown, call)
            if any(scans or rows > MAX_ROWS.get(function, MAX_ROWS_READ) for scans, rows in found.values()):
                wrong[f"{name}{arguments}"] = {table: read for table, read in found.items() if any(read)}
    assert not wrong, "\n".join(f"{name}: {read}" for name, read in wrong.items())


def _call(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    function(connection, *arguments, **NAMED.get(function, {}))
