"""The index of metadata: what is in it, what a list finds by it, and how what was stored before gets into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, delete, func, select

from receiver.model.ids import event_id, new_job_id
from receiver.model.role import Role
from receiver.store import job_pages, jobs, metadata_index, prune, views
from receiver.store.database import Database
from receiver.store.dialect import DIALECTS
from receiver.store.event_pages import Filter
from receiver.store.inbox import Receipt
from receiver.store.job_pages import JobFilter
from receiver.store.jobs import NewJob
from receiver.store.metadata_index import EVENTS, JOBS, MetadataNotIndexed
from receiver.store.processes import ProcessInfo, remove, write_heartbeat
from receiver.store.schema import event_metadata, events, job_metadata
from receiver.store.states import JobState
from tests.stores import execute
from tests.unit.store.conftest import NOW, MakeDelivery

Accept = Callable[..., list[Receipt]]
ACME = (("customer", "acme"),)


def found(database: Database, *pairs: tuple[str, str], **criteria: Any) -> list[str]:
    return [row["job_id"] for row in database.query(views.list_events, Filter(metadata=pairs, **criteria), 10)]


def count(database: Database, table: Any) -> int:
    return database.query(lambda connection: connection.execute(select(func.count()).select_from(table)).scalar_one())


def make_job(n: int, at: float = NOW, **values: Any) -> NewJob:
    default: dict[str, Any] = {
        "id": new_job_id(at, n), "source": "aitts", "request": {"text": "Hello"}, "submit_key": f"s{n}",
        "client_key": None, "now": at, "deadline_at": at + 60,
    }  # fmt: skip
    return NewJob(**(default | values))


def test_a_list_has_the_events_that_have_all_pairs(database: Database, delivery: MakeDelivery, accept: Accept) -> None:
    accept(
        delivery("a", indexed=(("customer", "acme"), ("project", "one"))),
        delivery("b", indexed=(("customer", "acme"), ("project", "two")), source="other"),
        delivery(
            "c",
            indexed=(("customer", "globex"), ("project", "one")),
            event_id=event_id(NOW + 9, 0),
            received_at=NOW + 9,
        ),
        delivery("d"),
    )
    assert found(database, ("customer", "acme")) == ["b", "a"]
    assert found(database, ("customer", "acme"), ("project", "one")) == ["a"]
    assert found(database, ("customer", "acme"), ("customer", "globex")) == []
    assert found(database, ("customer", "acme"), source="other") == ["b"]
    assert found(database, ("project", "one"), after=NOW + 1) == ["c"]
    assert found(database, ("customer", "acme"), state="open", type="job.completed") == ["b", "a"]
    assert found(database, ("customer", "acme"), state="done") == []
    assert found(database, ("customer", "acme"), job="a") == ["a"]
    assert found(database, ("Customer", "acme")) == found(database, ("customer", "Acme")) == []


def test_any_value_that_is_indexed_is_found_again(database: Database, delivery: MakeDelivery, accept: Accept) -> None:
    values = [
        "",
        " ",
        "Ä",
        "ä",
        "%",
        "_",
        "'",
        '"',
        "\\",
        "{}",
        "NULL",
        "x" * 256,
        "\U0001f600" * 256,
        "a\nb",
        "7",
        "7.0",
    ]
    accept(*(delivery(f"j{n}", indexed=(("k", value),)) for n, value in enumerate(values)))
    for n, value in enumerate(values):
        assert found(database, ("k", value)) == [f"j{n}"], value


def test_an_event_keeps_the_metadata_of_its_first_delivery_also_in_quarantine(
    database: Database, delivery: MakeDelivery, accept: Accept
) -> None:
    accept(delivery("a", indexed=ACME, quarantined=True), delivery("a", indexed=(("customer", "other"),)))
    accept(delivery("a", indexed=(("customer", "other"),)))
    assert found(database, *ACME) == ["a"]
    assert found(database, ("customer", "other")) == []


def test_an_event_that_is_deleted_takes_its_pairs_along_and_so_does_a_job(
    database: Database, delivery: MakeDelivery, accept: Accept
) -> None:
    [receipt] = accept(delivery("a", indexed=ACME, handlers=()))
    row, _ = database.transact(jobs.enqueue, make_job(1, indexed=ACME))
    database.transact(jobs.cancel, row["id"], NOW)
    assert (count(database, event_metadata), count(database, job_metadata)) == (1, 1)
    assert database.transact(prune.delete_events, NOW + 1, [receipt.event_id]) == 1
    assert database.transact(prune.delete_jobs, NOW + 1, [row["id"]]) == 1
    assert (count(database, event_metadata), count(database, job_metadata)) == (0, 0)


def test_the_pairs_of_a_batch_are_one_statement_and_without_any_there_is_none(
    database: Database, delivery: MakeDelivery, accept: Accept, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = database.query(lambda connection: DIALECTS[connection.dialect.name].events)
    calls: list[int] = []

    def counted(connection: Connection, table: str, rows: Sequence[tuple[str, str, str]]) -> None:
        calls.append(len(rows))
        insert(connection, table, rows)

    insert = statements.insert_metadata
    monkeypatch.setattr(statements, "insert_metadata", counted)
    accept(*(delivery(f"a{n}") for n in range(30)))
    database.transact(jobs.enqueue, make_job(1))
    assert calls == []
    accept(*(delivery(f"b{n}", indexed=(*ACME, ("p", str(n)))) for n in range(30)), delivery("c"))
    assert calls == [60]


def test_jobs_are_found_by_metadata_time_and_id(database: Database) -> None:
    for n in range(6):
        pairs = (("customer", "acme" if n % 2 else "globex"), ("project", str(n // 3)))
        source = "aitts" if n < 4 else "other"
        database.transact(jobs.enqueue, make_job(n, NOW + n, indexed=pairs, source=source))
    database.transact(jobs.cancel, new_job_id(NOW + 1, 1), NOW)

    def listed(limit: int = 10, **criteria: Any) -> list[int]:
        rows = database.query(job_pages.list_jobs, JobFilter(**criteria), limit)
        return [round(row["created_at"] - NOW) for row in rows]

    assert listed(metadata=ACME) == [5, 3, 1]
    assert listed(metadata=ACME, limit=2) == [5, 3]
    assert listed(metadata=(*ACME, ("project", "1"))) == [5, 3]
    assert listed(metadata=ACME, source="aitts") == [3, 1]
    assert listed(metadata=ACME, states=["submitting"]) == [5, 3]
    assert listed(metadata=ACME, states=[JobState.CANCELLED], source="aitts") == [1]
    assert listed(metadata=ACME, older_than=new_job_id(NOW + 5, 5)) == [3, 1]
    assert listed(metadata=ACME, created_after=NOW + 3, created_before=NOW + 5) == [3]
    assert listed(created_after=NOW + 1, created_before=NOW + 4) == [3, 2, 1]
    assert listed(created_before=NOW + 2, source="aitts") == [1, 0]
    assert listed(job=new_job_id(NOW + 2, 2)) == [2]
    assert listed(job=new_job_id(NOW + 2, 2), metadata=ACME) == []
    assert listed(job="none") == []


def test_a_job_is_found_by_the_provider_s_id_too(database: Database) -> None:
    for n, source in enumerate(("aitts", "other")):
        database.transact(jobs.watch, new_job_id(NOW + n, n), source, "theirs", NOW, NOW, NOW + 60)
    rows = database.query(job_pages.list_jobs, JobFilter(job="theirs"), 10)
    assert [row["source"] for row in rows] == ["other", "aitts"]
    assert len(database.query(job_pages.list_jobs, JobFilter(job="theirs"), 1)) == 1
    assert len(database.query(job_pages.list_jobs, JobFilter(job="theirs", source="aitts"), 10)) == 1


# keys


def declare(database: Database, *keys: str, since: float = NOW) -> list[str]:
    return database.transact(metadata_index.declare_keys, keys, since, since)


def test_in_an_empty_store_a_key_is_complete_at_once(
    database: Database, delivery: MakeDelivery, accept: Accept
) -> None:
    assert declare(database, "customer") == []
    accept(delivery("a"))
    assert declare(database, "customer") == []
    database.query(metadata_index.require_indexed, ["customer"])


def test_in_an_empty_store_a_key_is_incomplete_while_a_process_does_not_index_by_it(database: Database) -> None:
    for owner, keys in (("with", ["customer", "project"]), ("without", ["customer"])):
        info = ProcessInfo(owner, Role.INTAKE, "host", 1, "1.0", NOW, keys)
        database.transact(write_heartbeat, info, NOW)
    assert declare(database, "customer", "project") == ["project"]
    assert database.query(metadata_index.unknown_keys, ["customer", "project"]) == {"project": ["without"]}
    execute(database, "UPDATE processes SET metadata_keys = NULL WHERE owner = 'with'")  # of an older release
    assert declare(database) == []
    assert declare(database, "customer") == ["customer"]


def test_a_process_of_a_release_without_keys_makes_them_incomplete_also_after_it_has_ended(
    database: Database, delivery: MakeDelivery, accept: Accept
) -> None:
    assert declare(database, "customer") == []
    for owner, version in (("one", "2.0"), ("two", "2.0")):
        info = ProcessInfo(owner, Role.ALL, "host", 1, version, NOW, ["customer"])
        database.transact(write_heartbeat, info, NOW)
        database.transact(write_heartbeat, info, NOW + 5)
        database.transact(remove, owner)
    database.query(metadata_index.require_indexed, ["customer"])
    row = "INSERT INTO processes (owner, role, host, pid, version, started_at, heartbeat_at) VALUES "
    execute(database, row + "('old', 'all', 'host', 1, '1.0', 0, 0)")
    accept(delivery("a"))
    assert database.query(metadata_index.unknown_keys, ["customer"]) == {"customer": ["old"]}
    database.transact(remove, "old")
    with pytest.raises(MetadataNotIndexed, match="db index-metadata"):
        database.query(metadata_index.require_indexed, ["customer"])
    assert declare(database, "customer") == ["customer"], "a start does not make it complete"
    database.transact(metadata_index.complete_keys, ["customer"], NOW)
    database.query(metadata_index.require_indexed, ["customer"])


def test_a_key_that_comes_later_is_refused_until_all_is_indexed(
    database: Database, delivery: MakeDelivery, accept: Accept
) -> None:
    accept(delivery("a"))
    assert declare(database, "customer", "project") == ["customer", "project"]
    with pytest.raises(MetadataNotIndexed, match="'customer' is not indexed yet: `tts-receiver db index-metadata`"):
        database.query(metadata_index.require_indexed, ["customer"])
    database.transact(metadata_index.complete_keys, ["customer"], NOW)
    database.query(metadata_index.require_indexed, ["customer"])
    assert declare(database, "customer", "project", since=NOW + 9) == ["project"]
    with pytest.raises(MetadataNotIndexed, match="'project'"):
        database.query(metadata_index.require_indexed, ["customer", "project"])


def test_a_key_that_was_left_out_for_a_while_is_incomplete_again(
    database: Database, delivery: MakeDelivery, accept: Accept
) -> None:
    declare(database, "customer")
    accept(delivery("a"))
    assert declare(database) == []
    assert declare(database, "customer", since=NOW + 9) == ["customer"]


def index_all(database: Database, keys: list[str], limit: int = 2) -> None:
    for what in (EVENTS, JOBS):
        after: str | None = database.query(metadata_index.progress_of, what, keys)
        while after is not None:
            rows, after = database.query(metadata_index.read_page, what, after, limit)
            database.transact(metadata_index.index_rows, what, rows, keys)
            if after is not None:
                database.transact(metadata_index.record_progress, what, keys, after)


def test_what_is_stored_is_indexed_like_what_comes(database: Database, delivery: MakeDelivery, accept: Accept) -> None:
    metadata = [{"customer": "acme"}, {"customer": 7.0}, {"customer": True}, {"customer": {"a": 1}}, "text", None, {}]
    accept(*(delivery(f"j{n}", payload=json.dumps({"metadata": of})) for n, of in enumerate(metadata)))
    accept(delivery("list", payload="[1]"), delivery("half", payload='{"metadata": {"customer": "\\ud800"}}'))
    for n, of in enumerate(metadata):
        database.transact(jobs.enqueue, make_job(n, request={"text": "Hello", "metadata": of}))
    database.transact(jobs.watch, "job_z", "aitts", "watched", NOW, NOW, NOW + 60)
    accept(delivery("new", payload='{"metadata": {"customer": "acme"}}', indexed=ACME))
    declare(database, "customer")
    index_all(database, ["customer"])
    index_all(database, ["customer"])
    assert found(database, *ACME) == ["new", "j0"]
    assert found(database, ("customer", "7.0")) == ["j1"]
    assert found(database, ("customer", "true")) == ["j2"]
    assert count(database, event_metadata) == 4
    assert count(database, job_metadata) == 3
    assert database.query(metadata_index.progress_of, JOBS, ["customer"]) == "job_z"


def test_a_row_that_was_deleted_after_it_was_read_is_not_indexed(
    database: Database, delivery: MakeDelivery, accept: Accept
) -> None:
    payload = '{"metadata": {"customer": "acme"}}'
    receipts = accept(*(delivery(f"j{n}", payload=payload) for n in range(3)))
    rows, _ = database.query(metadata_index.read_page, EVENTS, "", 9)
    gone = receipts[1].event_id
    database.transact(lambda connection: connection.execute(delete(events).where(events.c.id == gone)))
    assert database.transact(metadata_index.index_rows, EVENTS, rows, ["customer"]) == 2
    assert found(database, *ACME) == ["j2", "j0"]


def test_a_page_of_large_rows_is_short_and_none_is_left_out(
    database: Database, delivery: MakeDelivery, accept: Accept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_index, "PAGE_BYTES", 1000)
    for n in range(5):
        payload = json.dumps({"metadata": {"customer": "acme"}, "text": "x" * (2000 if n == 2 else 300)})
        accept(delivery(f"j{n}", payload=payload))
    rows, _ = database.query(metadata_index.read_page, EVENTS, "", 9)
    assert len(rows) == 2
    declare(database, "customer")
    index_all(database, ["customer"], limit=9)
    assert found(database, *ACME) == ["j4", "j3", "j2", "j1", "j0"]
