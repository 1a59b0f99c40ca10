"""A list reads the columns that it shows: however large bodies and speech are, it reads none of their pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from receiver.store import inbox, job_pages, jobs, views
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.job_pages import JobFilter
from receiver.store.jobs import NewJob
from tests.stores import file_of, open_store
from tests.unit.store.conftest import NOW, MakeDelivery

IO = Path("/proc/thread-self/io")
pytestmark = [
    pytest.mark.skipif(not IO.exists(), reason="the system does not count what a thread reads"),
    pytest.mark.sqlite,
]

PAGE_BYTES = 4096
LARGE = 100_000
ROWS = 50


def bytes_read() -> int:
    """By this thread, so far: SQLite reads in the thread that asks."""
    return next(int(line.split()[1]) for line in IO.read_text().splitlines() if line.startswith("rchar"))


@pytest.fixture
def filled(database: Database, delivery: MakeDelivery, tmp_path: Path) -> Iterator[Database]:
    """Fifty events and jobs with large bodies and texts, in a store that nobody has read yet."""
    large = "x" * LARGE
    payload, body = f'{{"text":"{large}"}}', large.encode()
    database.transact(inbox.accept, [delivery(f"{n}", payload=payload, body=body) for n in range(ROWS)])

    def submit(connection: Connection) -> None:
        for n in range(ROWS):
            new = NewJob(
                id=f"job_{n}", source="aitts", request={"text": large}, submit_key=f"{n}", client_key=None, now=NOW,
                deadline_at=NOW,
            )  # fmt: skip
            jobs.enqueue(connection, new)

    database.transact(submit)
    fresh = open_store(file_of(database))
    yield fresh
    fresh.close()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (views.list_events, (Filter(),)),
        (views.list_events, (Filter(source="aitts", state="open"),)),
        (views.event_ids, (Filter(after=0.0),)),
        (views.list_runs, (Filter(),)),
        (lambda connection, limit: job_pages.list_jobs(connection, JobFilter(), limit, job_pages.SUMMARY), ()),
    ],
    ids=["events", "open events", "ids of events since", "runs", "jobs"],
)
def test_a_list_reads_no_page_of_a_large_body(
    filled: Database, function: Callable[..., list[Any]], arguments: tuple[Any, ...]
) -> None:
    filled.query(function, *arguments, 1)  # modules, the schema, the statement
    before = bytes_read()
    assert len(filled.query(function, *arguments, ROWS)) == ROWS
    pages = (bytes_read() - before) / PAGE_BYTES
    assert pages < 3 * ROWS, f"a body has {LARGE // PAGE_BYTES} pages"
