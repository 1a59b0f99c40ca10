"""Every list can begin with the oldest: page by page it is the same list, the other way round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from receiver.model.audit import AuditOperation
from receiver.model.ids import new_change_id
from receiver.store import artifacts, audit, inbox, job_pages, jobs, operations, schema
from receiver.store.audit import AuditFilter
from receiver.store.database import Database
from receiver.store.event_pages import Filter, id_bounds
from receiver.store.job_pages import JobFilter
from receiver.store.searches import Order
from tests.stores import insert_rows
from tests.unit.store.conftest import NOW, MakeDelivery
from tests.unit.store.test_audit import entry

Read = Callable[[Connection, Order, str | None, int], list[str]]
COUNT = 9


def jobs_of(**criteria: Any) -> Read:
    def read(connection: Connection, order: Order, beyond: str | None, limit: int) -> list[str]:
        filters = JobFilter(**criteria, **order.beyond(beyond))
        whole, _ = job_pages.page_of_jobs(connection, filters, limit, order)
        ids = job_pages.list_ids(connection, filters, limit, order)
        assert [row["id"] for row in whole] == ids
        return ids

    return read


def changes_of(**criteria: Any) -> Read:
    def read(connection: Connection, order: Order, beyond: str | None, limit: int) -> list[str]:
        rows = audit.list_entries(connection, AuditFilter(**criteria, **order.beyond(beyond)), limit, order)
        return [row["id"] for row in rows]

    return read


def events_with_audio(**criteria: Any) -> Read:
    def read(connection: Connection, order: Order, beyond: str | None, limit: int) -> list[str]:
        after, before = id_bounds(Filter(**criteria, **order.beyond(beyond)))
        return artifacts.page_of_events(connection, before, after, limit, order)

    return read


def all_operations(connection: Connection, order: Order, beyond: str | None, limit: int) -> list[str]:
    return [row["id"] for row in operations.page(connection, beyond, limit, order)]


LISTS: dict[str, tuple[Read, int]] = {
    "jobs": (jobs_of(), COUNT),
    "jobs of a source": (jobs_of(source="one"), 5),
    "jobs of a state": (jobs_of(states=["watching"]), 6),
    "jobs of a customer": (jobs_of(metadata=(("customer", "acme"),)), 3),
    "a job": (jobs_of(job="job-4"), 1),
    "changes": (changes_of(), COUNT),
    "changes by one": (changes_of(actor="app"), 5),
    "changes since": (changes_of(since=NOW + 4), 5),
    "operations": (all_operations, COUNT),
    "audio": (events_with_audio(), COUNT),
    "audio since": (events_with_audio(after=NOW + 3600), 0),
}


@pytest.fixture
def filled(database: Database, delivery: MakeDelivery) -> Database:
    def fill(connection: Connection) -> None:
        for n in range(COUNT):
            id = f"job_{n:032x}"
            jobs.watch(connection, id, "two" if n % 2 else "one", f"job-{n}", NOW, NOW, NOW + 60)
            if n % 3 == 0:
                jobs.cancel(connection, id, NOW)
            audit.add(connection, entry(n, actor="other" if n % 2 else "app"), 1, NOW)
            operations.accept(connection, new_change_id(NOW + n, n), AuditOperation.REPLAY_RUNS, 1, {}, {}, NOW + n)

    database.transact(fill)
    pairs = [{"job_id": f"job_{n:032x}", "key": "customer", "value": "acme"} for n in range(0, COUNT, 3)]
    insert_rows(database, schema.job_metadata, *pairs)
    for n in range(COUNT):
        (receipt,) = database.transact(inbox.accept, [delivery(str(n))])
        audio = {"address": "a.mp3", "bytes": 1, "sha256": "", "content_type": "audio/mpeg", "format": "mp3"}
        of_fetch = {"fetched_at": NOW, "fetch_seconds": 0.5}
        insert_rows(database, schema.artifacts, {"event_id": receipt.event_id, "n": 0, **audio, **of_fetch})
    return database


@pytest.mark.parametrize("name", LISTS)
def test_a_list_from_its_oldest_is_the_list_from_its_newest_the_other_way_round(filled: Database, name: str) -> None:
    read, count = LISTS[name]
    whole = filled.query(read, Order.NEWEST_FIRST, None, 99)
    assert len(whole) == count
    assert whole == sorted(whole, reverse=True)
    for order, expected in ((Order.NEWEST_FIRST, whole), (Order.OLDEST_FIRST, whole[::-1])):
        found: list[str] = []
        while page := filled.query(read, order, found[-1] if found else None, 2):
            found += page
        assert found == expected
