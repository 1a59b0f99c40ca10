"""Migrations: from nothing, twice, at once, and never over a store that a newer release wrote."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from receiver.errors import StoreUnavailable
from receiver.store import inbox, job_pages, throttle_state, views
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.migrate import SCRIPTS, SchemaTooNew, SchemaTooOld, migrate, require_current, revision
from receiver.store.schema import HEAD, metadata
from tests.stores import execute, file_of, open_store
from tests.unit.store.conftest import MakeDelivery

pytestmark = pytest.mark.sqlite


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    database = open_store(tmp_path / "receiver.db")
    yield database
    database.close()


def at_revision(path: Path, revision: str) -> None:
    """A store as an earlier release wrote it."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def schema_of(path: Path) -> dict[str, str]:
    """Each table's and index's definition, white space apart."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'trigger'"
        ).fetchall()
    finally:
        connection.close()
    return {name: "".join(sql.split()) for name, sql in rows if name != "alembic_version"}


def set_revision(path: Path, to: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (to,))
    connection.close()


def test_an_empty_store_is_brought_to_the_newest_schema_and_a_second_start_changes_nothing(empty: Database) -> None:
    assert empty.query(revision) is None
    assert migrate(empty) == (None, HEAD)
    before = schema_of(file_of(empty))
    assert migrate(empty) == (HEAD, HEAD)
    assert schema_of(file_of(empty)) == before
    assert {"events", "runs", "attempts", "artifacts", "signing_keys"} <= set(before)


def test_the_newest_migration_is_the_one_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_the_migrated_schema_is_the_one_the_code_uses(empty: Database) -> None:
    migrate(empty)

    def differences(connection: object) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})  # type: ignore[arg-type]
        return list(compare_metadata(context, metadata))

    assert empty.query(differences) == []


def test_the_migrated_schema_has_the_same_constraints_too(empty: Database, tmp_path: Path) -> None:
    """The comparison above does not look at checks; here the sets of constraint texts are compared."""
    migrate(empty)
    direct = tmp_path / "direct.db"
    engine = create_engine(f"sqlite:///{direct}")
    metadata.create_all(engine)
    engine.dispose()
    ours, wanted = schema_of(file_of(empty)), schema_of(direct)
    assert set(ours) == set(wanted)
    for name in wanted:
        assert sorted(ours[name].replace('"', "")) == sorted(wanted[name].replace('"', "")), name


def test_two_starts_at_once_migrate_once(tmp_path: Path) -> None:
    databases = [open_store(tmp_path / "receiver.db") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(migrate, databases))
    assert [after for _, after in results] == [HEAD, HEAD]
    assert databases[0].query(revision) == HEAD
    for database in databases:
        database.close()


def test_a_store_of_a_newer_release_is_refused_and_left_as_it_is(empty: Database) -> None:
    migrate(empty)
    execute(empty, "UPDATE schema_compatibility SET compatible_from = '9999'")
    set_revision(file_of(empty), "9999")
    before = schema_of(file_of(empty))
    with pytest.raises(SchemaTooNew, match="9999"):
        migrate(empty)
    with pytest.raises(SchemaTooNew, match="9999"):
        empty.query(require_current)
    assert schema_of(file_of(empty)) == before
    assert empty.query(revision) == "9999"


def test_a_command_that_only_reads_says_what_to_do_with_an_older_store(empty: Database) -> None:
    with pytest.raises(SchemaTooOld, match="db upgrade"):
        empty.query(require_current)
    migrate(empty)
    assert empty.query(require_current) is None


def test_a_migration_that_fails_leaves_nothing_behind(empty: Database) -> None:
    connection = sqlite3.connect(file_of(empty))
    connection.execute("CREATE TABLE runs (mine TEXT)")  # in the way of the first migration
    connection.close()
    with pytest.raises(StoreUnavailable, match="runs"):
        migrate(empty)
    assert set(schema_of(file_of(empty))) == {"runs"}


def test_jobs_that_were_watched_before_they_had_ids_of_their_own_are_kept(empty: Database) -> None:
    at_revision(file_of(empty), "0002")
    connection = sqlite3.connect(file_of(empty))
    columns = "source, job_id, state, watched_at, next_poll_at, deadline_at, claim, polls, event_id"
    for number in range(3):
        values = ("aitts", f"a{number}", "watching", 1_700_000_000.5 + number, 5.0, 6.0, 7, 8, "evt_1")
        connection.execute(f"INSERT INTO jobs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    connection.execute("INSERT INTO source_state (source, pause_until, reason) VALUES ('aitts', 9.0, 'why')")
    connection.commit()
    connection.close()
    assert migrate(empty) == ("0002", HEAD)
    rows = empty.query(job_pages.list_jobs, job_pages.JobFilter(), 9)
    assert [row["job_id"] for row in rows] == ["a2", "a1", "a0"]
    row = rows[-1]
    assert row["id"].startswith("job_018bcfe569f47")
    assert (row["created_at"], row["due_at"], row["deadline_at"]) == (1_700_000_000.5, 5.0, 6.0)
    assert (row["claim"], row["polls"], row["event_id"], row["request"], row["submits"]) == (7, 8, "evt_1", None, 0)
    assert empty.query(throttle_state.get, "aitts") == throttle_state.ThrottleState(9.0, "why", 0.0)


def test_what_an_earlier_release_put_off_may_wait_for_a_day_and_what_is_new_for_nothing(empty: Database) -> None:
    at_revision(file_of(empty), "0004")
    connection = sqlite3.connect(file_of(empty))
    connection.execute(
        "INSERT INTO events (id, source, type, key, origin, status, payload, body, headers, received_at) "
        "VALUES ('evt_1', 'aitts', 't', 'k', 'webhook', 'accepted', '{}', '', '[]', 1.0)"
    )
    for handler, attempt in (("new", 0), ("tried", 2)):
        connection.execute(
            "INSERT INTO runs (event_id, handler, state, attempt, due_at) VALUES ('evt_1', ?, 'pending', ?, 5.0)",
            (handler, attempt),
        )
    connection.commit()
    connection.close()
    migrate(empty)
    connection = sqlite3.connect(file_of(empty))
    waits = dict(connection.execute("SELECT handler, wait_seconds FROM runs").fetchall())
    connection.close()
    assert waits == {"new": 0.0, "tried": 86_400.0}


def columns_of(path: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


BEHIND_LISTS = [
    "request",
    "streamed",
    "polled_at",
    "kind",
    "characters",
    "chars_charged",
    "credits_used",
    "counted",
    "usage_pending",
]
"""The last columns of jobs: lists read none of them."""


def test_in_a_new_store_what_may_be_large_is_behind_what_lists_show(empty: Database) -> None:
    migrate(empty)
    assert columns_of(file_of(empty), "events")[-4:] == ["headers", "payload", "body", "edited_from"]
    assert columns_of(file_of(empty), "jobs")[-9:] == BEHIND_LISTS


def test_a_store_with_events_keeps_each_row_bit_by_bit_and_works(empty: Database, delivery: MakeDelivery) -> None:
    at_revision(file_of(empty), "0005")
    before = {table: columns_of(file_of(empty), table) for table in ("events", "runs", "attempts", "artifacts")}
    at, large = 1_700_000_000.123456, b"\x00\xff" * 9000
    stored = {
        "events": [
            ("evt_1", "aitts", "t", "k", "j", "webhook", "accepted", '{"a": 1}', large, "[]", "key", 0.1, at, 3, "why"),
            ("evt_2", "aitts", "u", "k", None, "poll", "quarantined", "{}", b"", '[["a"]]', None, None, at, 0, None),
        ],
        "runs": [("evt_1", "h", "dead", 4, 1, at, None, None, at, at, None, "no", 2, 5.5, None)],
        "attempts": [("evt_1", "h", 4, at, at, "failed", "no")],
        "artifacts": [("evt_1", 0, "a.wav", 9, "00", "audio/wav", "wav", 1.5, 24000, 1, at, 0.25)],
    }  # fmt: skip
    with closing(sqlite3.connect(file_of(empty))) as connection, connection:
        for table, rows in stored.items():
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
    migrate(empty)
    with closing(sqlite3.connect(file_of(empty))) as connection:
        for table, rows in stored.items():
            assert connection.execute(f"SELECT {', '.join(before[table])} FROM {table}").fetchall() == rows
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT * FROM schema_compatibility").fetchall() == [("0006",)]
    assert columns_of(file_of(empty), "events") == [*before["events"], "edited_from"], (
        "to copy every row costs more than it saves"
    )
    assert columns_of(file_of(empty), "jobs")[-9:] == BEHIND_LISTS
    [receipt] = empty.transact(inbox.accept, [delivery("new", body=b"a body")])
    assert [row["id"] for row in empty.query(views.list_events, Filter(), 9)] == ["evt_2", "evt_1", receipt.event_id]
    found = empty.query(views.get_event, receipt.event_id)
    assert found is not None
    assert (found["body"], found["payload"]) == (b"a body", {"status": "completed"})
