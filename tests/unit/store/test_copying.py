"""A copy of a store: both ways, after a stop at any batch, and only from one quiet store into an empty one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import text

from receiver.clock import SystemClock
from receiver.model.audit import AuditEntry, AuditOperation, AuditState, Via
from receiver.model.rate_limit import RateLimit
from receiver.model.rate_plan import RequestKind
from receiver.model.slots import Slots
from receiver.store import (
    audit,
    copying,
    feed,
    inbox,
    job_durations,
    jobs,
    metadata_index,
    operations,
    rate_buckets,
    rollups,
    runs,
    sessions,
    throttle_state,
    usage,
)  # fmt: skip
from receiver.store.artifacts import ArtifactRow
from receiver.store.backends import backend_of
from receiver.store.copying import TABLES, Copy, CopyFailed, CopyRefused, CopyStopped
from receiver.store.database import Database
from receiver.store.dialect import DIALECTS
from receiver.store.feed import Cursor
from receiver.store.jobs import NewJob
from receiver.store.migrate import CopyUnfinished, SchemaTooOld, migrate, require_current
from receiver.store.rollups import Kind, Series
from receiver.store.runs import RunResult
from receiver.store.sessions import SessionRow
from receiver.store.states import RunState
from tests.claiming import claim_due
from tests.postgresql_server import PostgresqlServer
from tests.stores import address_of, open_store
from tests.unit.store.conftest import NOW, MakeDelivery

MakeStore = Callable[[str], Database]


@pytest.fixture
def make(tmp_path: Path, postgresql: PostgresqlServer) -> Iterator[MakeStore]:
    """Opens a store of a kind that does not exist yet."""
    made: list[Database] = []
    names: list[str] = []

    def open_one(kind: str) -> Database:
        if kind == "sqlite":
            made.append(open_store(tmp_path / f"{len(made)}.db"))
        else:
            names.append(postgresql.create())
            made.append(Database(backend_of(postgresql.url(names[-1]), Path("/"))))
        return made[-1]

    yield open_one
    for database in made:
        database.close()
    for name in names:
        postgresql.drop(name)


def fill(database: Database, delivery: MakeDelivery) -> list[str]:
    """Something in each table; the ids of the events, in the order of their commits."""
    migrate(database)
    stored = [delivery(f"j{n}", body=bytes([n]) * 9, payload='{"a":  1.50, "b": "\\ud800"}') for n in range(30)]
    order = [*stored[10:], *stored[:10]]
    for item in order:
        database.transact(inbox.accept, [item._replace(indexed=(("customer", "acme"),))])
    job = NewJob(id="job_1", request={"text": "Hä"}, source="aitts", submit_key="s", client_key="c", now=NOW,
                 deadline_at=NOW + 0.1, indexed=(("customer", "Hä"),))  # fmt: skip
    database.transact(jobs.enqueue, job)
    database.transact(usage.reconcile, "aitts")
    database.transact(metadata_index.declare_keys, ["customer"], NOW, NOW)
    database.transact(throttle_state.pause, "aitts", NOW + 60.123, "why", NOW)
    database.transact(rate_buckets.record, "aitts", RateLimit(10, 3, NOW + 60.5, "account"), NOW)
    database.transact(rate_buckets.assign, "aitts", RequestKind.STATUS, "account")
    database.transact(job_durations.add, "aitts", 12, 3.25)
    claim, *_ = database.transact(claim_due, Slots(3, {"save_audio": None}).free({}), "me", NOW, NOW + 30)

    def more(connection: object) -> None:
        event_id = stored[0].event_id
        row = ArtifactRow(event_id, 0, "a.wav", 1 << 40, "00", "audio/wav", "wav", 1.5, 24000, None, NOW, 0.25)
        DIALECTS[connection.dialect.name].events.put_artifacts(connection, [row])  # type: ignore[attr-defined]
        failed = RunResult(
            claim, "me", "failed", RunState.DEAD, 2.5, error="no", error_kind="Kind", reason="why", traceback="Where"
        )
        assert runs.finish(connection, [failed]) == [True]  # type: ignore[arg-type]

    database.transact(more)
    entry = AuditEntry("chg_1", NOW, "app", Via.API, AuditOperation.REPLAY, {"event": "Hä"}, AuditState.COMPLETED)
    database.transact(audit.add, entry, 3, NOW + 0.123)
    counts = {Series(Kind.DELIVERIES, "aitts", "accepted"): 1 << 40}
    database.transact(rollups.add, [(NOW, counts)])
    database.transact(operations.accept, "chg_1", AuditOperation.REPLAY, 1, {"actor": "Hä"}, {}, NOW)
    session = SessionRow(
        id="ab", actor="app", kind="token", credential="mac", created_at=NOW, seen_at=NOW, expires_at=NOW + 0.1
    )
    database.transact(sessions.create, session)
    database.close()  # a session that it keeps would be one of a receiver
    return [item.event_id for item in order]


def copy(source: Database, target: Database, stop_after: int = 1 << 30) -> list[copying.CopiedTable]:
    calls = iter(range(1 << 31))
    return Copy(source, target, lambda *_: None, lambda: next(calls) >= stop_after).run()


def ids(database: Database, cursor: Cursor) -> list[str]:
    return [row["id"] for _, row in database.query(feed.events_after, cursor, 100)]


@pytest.mark.parametrize("kinds", [("sqlite", "postgresql"), ("postgresql", "sqlite"), ("postgresql", "postgresql")])
def test_a_copy_is_the_same_and_streams_continue_in_it(
    kinds: tuple[str, str], make: MakeStore, delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH_ROWS", 7)
    source, target = map(make, kinds)
    order = fill(source, delivery)
    done = copy(source, target)
    assert [table.name for table in done] == [table.name for table in TABLES]
    assert all(table.rows for table in done)
    target.close()
    target.query(require_current)
    assert ids(target, Cursor()) == order
    new = delivery("new")
    target.transact(inbox.accept, [new])
    for position in (3, 20, 29):
        assert ids(target, target.query(feed.cursor_of, order[position])) == [*order[position + 1 :], new.event_id]


def test_the_error_for_a_store_of_another_schema_names_the_store(make: MakeStore) -> None:
    source, target = make("sqlite"), make("postgresql")
    with pytest.raises(SchemaTooOld, match=re.escape(f"The store {source.location} has schema none")):
        copy(source, target)


@pytest.mark.parametrize("kinds", [("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_a_copy_that_was_stopped_continues_and_nothing_else_opens_its_target(
    kinds: tuple[str, str], make: MakeStore, delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH_ROWS", 7)
    source, target = map(make, kinds)
    fill(source, delivery)
    with pytest.raises(CopyStopped):
        copy(source, target, 3)
    with pytest.raises(CopyUnfinished, match="db copy"):
        target.query(require_current)
    with pytest.raises(CopyUnfinished, match="db copy"):
        migrate(target)
    other = make("sqlite")
    migrate(other)
    with pytest.raises(CopyRefused, match="unfinished copy"):
        copy(other, target)
    assert {table.name: table.rows for table in copy(source, target)}["events"] == 30
    with pytest.raises(CopyRefused, match="not empty"):
        copy(source, target)


def test_a_source_that_was_used_between_two_parts_is_found(
    make: MakeStore, delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH_ROWS", 7)
    source, target = make("sqlite"), make("postgresql")
    order = fill(source, delivery)
    with pytest.raises(CopyStopped):
        copy(source, target, 3)
    source.transact(lambda connection: connection.execute(text("UPDATE events SET duplicates = 9 WHERE id = :id"),
                                                          {"id": order[2]}))  # fmt: skip
    with pytest.raises(CopyFailed, match=f"row 3 of events .*{order[2]}"):
        copy(source, target)
    with pytest.raises(CopyUnfinished):
        target.query(require_current)


@pytest.mark.parametrize(
    ("kinds", "during", "difference"),
    [
        (("sqlite", "postgresql"), "Copying", r"row 31 of events .*has 31 rows.*has 30"),
        (("postgresql", "sqlite"), "Copying", r"row 31 of events .*has 31 rows.*has 30"),
        (("postgresql", "sqlite"), "Comparing", r"used during the comparison: events in .* had 30 rows, and has 31\."),
    ],
)
def test_what_is_stored_during_the_copy_is_found(
    kinds: tuple[str, str],
    during: str,
    difference: str,
    make: MakeStore,
    delivery: MakeDelivery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copying, "BATCH_ROWS", 7)
    source, target = map(make, kinds)
    fill(source, delivery)
    late = [delivery("late")]

    def accept_late(what: str, *_: object) -> None:
        if late and what == during:
            with closing(open_store(address_of(source))) as other:
                other.transact(inbox.accept, [late.pop()])

    with pytest.raises(CopyFailed, match=difference):
        Copy(source, target, accept_late, lambda: False).run()
    with pytest.raises(CopyUnfinished):
        target.query(require_current)


@pytest.mark.parametrize("kinds", [("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_a_receiver_that_starts_during_the_comparison_is_found(
    kinds: tuple[str, str], make: MakeStore, delivery: MakeDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH_ROWS", 7)
    source, target = map(make, kinds)
    fill(source, delivery)
    receiver = open_store(address_of(source))
    processes = receiver.processes("receiver_1_a", SystemClock(), Random(0))

    def start(what: str, *_: object) -> None:
        if what == "Comparing":
            receiver.query(require_current)
            processes.join()

    with pytest.raises(CopyFailed, match="A receiver was started on"):
        Copy(source, target, start, lambda: False).run()
    with pytest.raises(CopyUnfinished):
        target.query(require_current)
    processes.leave()
    receiver.close()
    assert {table.name: table.rows for table in copy(source, target)}["events"] == 30


def test_a_text_of_an_earlier_release_with_nul_is_copied(make: MakeStore, delivery: MakeDelivery) -> None:
    source, target = make("sqlite"), make("postgresql")
    fill(source, delivery)
    source.transact(lambda connection: connection.execute(text("UPDATE events SET conflict = :text"), {"text": "a\0b"}))
    copy(source, target)
    conflicts = text("SELECT DISTINCT conflict FROM events")
    assert target.query(lambda connection: connection.execute(conflicts).scalars().all()) == ["a\ufffdb"]
