"""How SQLite carries out the statements of a function of a connection, and how many steps of its machine that takes.

For tests that keep scans out. A plan shows what reads a table from end to end. It does not show a search whose range
holds most of the table; counting steps on stores of two sizes does, and is the same on every machine.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import Connection, create_engine, event

from receiver.store.database import Database
from receiver.store.schema import metadata
from tests.stores import file_of

OF_HISTORY = {"ix_runs_succeeded", "ix_jobs_ended"}
"""Partial indexes that hold what has ended."""
PARTIAL_INDEXES = frozenset(
    str(index.name)
    for table in metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None and index.name not in OF_HISTORY
)
"""They hold what is open, dead, waiting or in quarantine: to read one from end to end is to read no history."""
STEPS = 10
"""Steps that are counted at once."""
SMALL_TABLES = frozenset(
    {
        "job_durations",
        "metadata_keys",
        "processes",
        "rate_buckets",
        "rate_endpoints",
        "signing_keys",
        "source_state",
        "alembic_version",
        "sqlite_master",
    }
)
"""A few rows for each source, signing key, process or key of the metadata."""

_SCAN = re.compile(r"SCAN (?P<what>\S+)(?:.* USING (?:COVERING )?INDEX (?P<index>\S+))?")


@dataclass(frozen=True, slots=True)
class Plan:
    """A statement and the lines of its plan."""

    statement: str
    lines: tuple[str, ...]

    @property
    def scans(self) -> list[str]:
        """Lines that read all of a table or of an index that holds history."""
        named = {line.split()[-1] for line in self.lines if line.startswith(("CO-ROUTINE", "MATERIALIZE"))}
        found = []
        for line in self.lines:
            match = _SCAN.match(line)
            if match is None:
                if "AUTOMATIC" in line:  # an index that is made for this statement, of a whole table
                    found.append(line)
                continue
            what = match["what"]
            made = what in named or what.startswith("(") or "CONSTANT ROW" in line or "VIRTUAL TABLE" in line
            if not made and what not in SMALL_TABLES and match["index"] not in PARTIAL_INDEXES:
                found.append(line)
        return found

    @property
    def sorts(self) -> list[str]:
        """Lines that gather rows before the first of them is known."""
        return [line for line in self.lines if "TEMP B-TREE" in line]

    def __str__(self) -> str:
        return "\n    ".join([" ".join(self.statement.split()), *self.lines])


def plans_of(database: Database, function: Callable[..., Any], *arguments: Any) -> list[Plan]:
    """Run `function(connection, *arguments)`, whose writes are rolled back; each statement that it executes."""
    executed: list[tuple[str, Any]] = []
    _Driver.executed = executed

    def note(_: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool) -> None:
        executed.append((statement, values[0] if many else values))

    with _connection(database) as connection:
        event.listen(connection, "before_cursor_execute", note)
        function(connection, *arguments)
        event.remove(connection, "before_cursor_execute", note)
        return [_plan(connection, *one) for one in executed]


def require_flat(plans: list[Plan], *, sorts: int = 0) -> None:
    """Fail where a statement scans history, or more of them than `sorts` sort what they read."""
    scanning = [str(plan) for plan in plans if plan.scans]
    assert not scanning, "scans:\n" + "\n".join(scanning)
    sorting = [str(plan) for plan in plans if plan.sorts]
    assert len(sorting) <= sorts, "sorts:\n" + "\n".join(sorting)


def steps_of(database: Database, function: Callable[..., Any], *arguments: Any) -> int:
    """Run `function(connection, *arguments)`, whose writes are rolled back: the steps of SQLite's machine it takes.

    Give or take `STEPS` for each statement.
    """
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += STEPS
        return 0

    with _connection(database) as connection:
        connection.exec_driver_sql("SELECT 1 FROM events LIMIT 1").all()  # the schema is read by now
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(count, STEPS)
        try:
            function(connection, *arguments)
        finally:
            driver.set_progress_handler(None, 0)
        return steps


class _Driver(sqlite3.Connection):
    """Notes what is executed on the connection itself, past SQLAlchemy."""

    executed: ClassVar[list[tuple[str, Any]]] = []

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Execute and note."""
        self.executed.append((sql, tuple(parameters)))
        return super().execute(sql, parameters)


@contextmanager
def _connection(database: Database) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{file_of(database)}", connect_args={"factory": _Driver})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
            yield connection
            connection.rollback()
    finally:
        engine.dispose()


def _plan(connection: Connection, statement: str, values: Any) -> Plan:
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
    return Plan(statement, tuple(str(row[3]) for row in rows))
