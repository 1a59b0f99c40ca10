"""A later migration runs on every database; if it only adds, the code before it goes on using the store."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random

import pytest

from receiver.clock import SystemClock
from receiver.engine.membership import POLL_INTERVAL_SECONDS, SCHEMA_CHECK_SECONDS, Membership
from receiver.errors import StoreMigrated
from receiver.model.role import Role
from receiver.model.slots import Slots
from receiver.store import inbox, job_pages, jobs, migrate, runs, throttle_state, views
from receiver.store.backend import Processes
from receiver.store.copying import Copy
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.migrate import SchemaTooNew, StoreInUse
from receiver.store.processes import ProcessInfo, remove, write_heartbeat
from receiver.store.runs import RunResult
from receiver.store.schema import HEAD, schema_compatibility
from receiver.store.states import RunState
from tests.claiming import claim_due
from tests.integration.engine_support import ManualClock, Signal
from tests.integration.intake_support import configured, logged, running
from tests.stores import address_of, execute, open_store, query
from tests.unit.store.conftest import NOW, MakeDelivery

FREE = Slots(9, {"save_audio": None})
NEXT, AFTER = (f"{int(HEAD) + further:04}" for further in (1, 2))
IMPORTS = "import sqlalchemy as sa\nfrom alembic import op\n"
ADDS = """
def upgrade():
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    for table in ("events", "runs", "jobs", "source_state", "processes"):
        op.add_column(table, sa.Column("note", text))
        op.add_column(table, sa.Column("weight", sa.Integer, nullable=False, server_default=sa.text("1")))
    condition = sa.text("note IS NOT NULL")
    op.create_index("ix_runs_note", "runs", ["note"], sqlite_where=condition, postgresql_where=condition)
    op.create_table("notes", sa.Column("name", text, primary_key=True))
"""
REMOVES = """
def upgrade():
    op.drop_column("signing_keys", "last_used_at")
"""


class LaterRelease:
    """A release with this one's migrations and more."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._head = HEAD
        shutil.copytree(migrate.SCRIPTS, folder)

    def add(self, upgrade: str, compatible_from: str | None = None) -> None:
        """Add a migration."""
        before, self._head = self._head, f"{int(self._head) + 1:04}"
        facts = f"revision = {self._head!r}\ndown_revision = {before!r}\n"
        if compatible_from:
            facts += f"compatible_from = {compatible_from!r}\n"
        (self._folder / "versions" / f"m{self._head}.py").write_text(IMPORTS + facts + upgrade)

    def migrate(self, database: Database, known: str | None = None) -> tuple[str | None, str]:
        """Start on the store: the whole release, or one that knows the migrations up to `known` only."""
        with self._monkeypatch.context() as patched:
            patched.setattr(migrate, "SCRIPTS", self._folder)
            patched.setattr(migrate, "HEAD", known or self._head)
            return migrate.migrate(database)


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LaterRelease:
    return LaterRelease(tmp_path / "migrations", monkeypatch)


def work(database: Database, delivery: MakeDelivery, name: str) -> None:
    """What a receiver does with an event and a job."""
    [receipt] = database.transact(inbox.accept, [delivery(name, key=name)])
    [claim] = database.transact(claim_due, FREE.free({}), "me", NOW, NOW + 30)
    assert claim.event_id == receipt.event_id
    ended = RunResult(claim, "me", "succeeded", RunState.SUCCEEDED, NOW)
    assert database.transact(runs.finish, [ended]) == [True]
    database.transact(jobs.watch, f"job_{name}", "aitts", name, NOW, NOW, NOW + 600)
    database.transact(throttle_state.pause, "aitts", NOW + 60, "why", NOW)
    assert receipt.event_id in [row["id"] for row in database.query(views.list_events, Filter(), 9)]
    assert name in [row["job_id"] for row in database.query(job_pages.list_jobs, job_pages.JobFilter(), 9)]


@pytest.mark.pooled
def test_code_before_a_migration_that_only_adds_goes_on_and_can_start_again(
    database: Database, later: LaterRelease, delivery: MakeDelivery
) -> None:
    for n in range(8):  # statements are prepared after a few times
        work(database, delivery, f"before_{n}")
    later.add(ADDS, compatible_from=HEAD)
    assert later.migrate(database) == (HEAD, NEXT)
    work(database, delivery, "after")
    restarted = Database(database._backend)
    assert migrate.migrate(restarted) == (NEXT, NEXT)
    restarted.query(migrate.require_usable)
    work(restarted, delivery, "restarted")
    restarted.close()
    assert {row["weight"] for row in query(database, "SELECT weight FROM events")} == {1}
    assert later.migrate(database) == (NEXT, NEXT)


@pytest.mark.parametrize("compatible_from", [None, NEXT])
def test_code_before_a_migration_that_removes_is_refused_in_words(
    compatible_from: str | None, database: Database, later: LaterRelease
) -> None:
    later.add(REMOVES, compatible_from)
    assert later.migrate(database) == (HEAD, NEXT)
    for use in (lambda: migrate.migrate(database), lambda: database.query(migrate.require_usable)):
        with pytest.raises(SchemaTooNew, match=rf"schema {NEXT}, which this release, whose schema is {HEAD}, does not"):
            use()
    assert database.query(migrate.revision) == NEXT


@pytest.fixture
def living(database: Database) -> Iterator[Processes]:
    """A process of this release that uses the store."""
    processes = database.processes("host_1_a", SystemClock(), Random(0))
    processes.join()
    now = time.time()
    database.transact(write_heartbeat, ProcessInfo("host_1_a", Role.ALL, "host", 1, "1.0", now), now)
    yield processes
    processes.leave()


@pytest.mark.pooled
def test_a_migration_that_removes_is_refused_while_older_code_runs(
    database: Database, later: LaterRelease, living: Processes, delivery: MakeDelivery
) -> None:
    later.add(REMOVES)
    with pytest.raises(StoreInUse, match=rf"schema {HEAD}, and only code that knows schema {NEXT} .*: host_1_a\."):
        later.migrate(database)
    assert database.query(migrate.revision) == HEAD
    work(database, delivery, "after")
    living.leave()
    database.transact(remove, "host_1_a")
    assert later.migrate(database) == (HEAD, NEXT)


@pytest.mark.pooled
def test_a_migration_that_only_adds_runs_while_older_code_does(
    database: Database, later: LaterRelease, living: Processes
) -> None:
    later.add(ADDS, compatible_from=HEAD)
    assert later.migrate(database) == (HEAD, NEXT)


@pytest.mark.anyio
@pytest.mark.parametrize("restored", ["9999", "0001"])
async def test_a_process_under_which_the_schema_changed_stores_nothing_more(
    database: Database, delivery: MakeDelivery, restored: str
) -> None:
    """As where nobody sees that it lives."""
    signal = Signal()
    clock = ManualClock(signal)
    info = ProcessInfo("host_1_a", Role.INTAKE, "host", 1, "1.0", NOW)
    member = Membership(database, database.processes("host_1_a", clock, Random(0)), info, [], clock)
    with logged() as lines:
        await member.join()
        await database.batch(inbox.accept, delivery("before"))
        execute(database, "UPDATE alembic_version SET version_num = :to", to=restored)
        execute(database, "UPDATE schema_compatibility SET compatible_from = :to", to=restored)
        await signal.until(lambda: clock.seconds)
        clock.advance(SCHEMA_CHECK_SECONDS)
        await signal.until(lambda: clock.seconds[POLL_INTERVAL_SECONDS] > 1)
        with pytest.raises(StoreMigrated, match=f"schema {restored}"):
            await database.batch(inbox.accept, delivery("after"))
        assert database.health.outage() is not None
        await member.leave()
        assert [line["reason"] for line in lines.of("store.unavailable")] == ["store_migrated"]
    assert [row["job_id"] for row in query(database, "SELECT job_id FROM events")] == ["before"]


@pytest.mark.anyio
async def test_a_start_on_a_newer_schema_says_which_is_there_and_which_is_its_own(
    database: Database, later: LaterRelease, tmp_path: Path
) -> None:
    settings = configured(tmp_path, store={"url": address_of(database)})
    with logged() as lines:
        async with running(settings):
            pass
        assert lines.of("store.newer_schema") == []
        later.add(ADDS, compatible_from=HEAD)
        later.migrate(database)
        async with running(settings):
            pass
        [line] = lines.of("store.newer_schema")
    assert (line["level"], line["schema"], line["own_schema"]) == ("info", NEXT, HEAD)
    assert "this release can use it" in line["hint"]


def test_a_migration_that_adds_after_one_that_removed_lets_only_code_start_that_knows_the_latter(
    database: Database, later: LaterRelease
) -> None:
    later.add(REMOVES)
    later.add(ADDS, compatible_from=HEAD)  # by mistake
    assert later.migrate(database) == (HEAD, AFTER)
    assert later.migrate(database, known=NEXT) == (AFTER, AFTER)
    with pytest.raises(SchemaTooNew, match=AFTER):
        migrate.migrate(database)


@pytest.mark.parametrize("loss", ["DROP TABLE schema_compatibility", "DELETE FROM schema_compatibility"])
def test_a_newer_store_that_does_not_say_who_can_use_it_is_refused(
    loss: str, database: Database, later: LaterRelease
) -> None:
    later.add(ADDS, compatible_from=HEAD)
    later.migrate(database)
    execute(database, loss)
    with pytest.raises(SchemaTooNew, match=NEXT):
        migrate.migrate(database)


def test_a_new_store_says_that_code_of_the_last_schema_that_did_not_only_add_can_use_it(database: Database) -> None:
    assert query(database, schema_compatibility) == [{"compatible_from": "0006"}]


def test_a_store_of_a_newer_schema_is_not_copied_nor_copied_into(
    new_store: Callable[[], AbstractContextManager[Database]], tmp_path: Path, later: LaterRelease
) -> None:
    """A copy would lack what this release does not know, and say that all is the same."""
    later.add(ADDS, compatible_from=HEAD)
    other = open_store(tmp_path / "other.db")
    migrate.migrate(other)
    with new_store() as newer:
        later.migrate(newer)
        for pair in ((newer, other), (other, newer)):
            with pytest.raises(SchemaTooNew, match=NEXT):
                Copy(*pair, lambda *_: None, lambda: False).run()
    other.close()
