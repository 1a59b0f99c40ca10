"""What differs between kinds of databases is behind the seam; what does not is right on all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex

from receiver.store import jobs, throttle_state
from receiver.store.database import Database
from receiver.store.jobs import NewJob
from receiver.store.schema import metadata
from tests.unit.store.conftest import NOW
from tests.unit.store.plans import plans_of

INDEXES = sorted(
    (index for table in metadata.tables.values() for index in table.indexes), key=lambda one: str(one.name)
)


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: str(index.name))
def test_an_index_has_the_same_condition_in_every_database(index: Any) -> None:
    def condition(dialect: Any) -> str:
        return str(CreateIndex(index).compile(dialect=dialect)).partition(" WHERE ")[2].replace('"', "")

    assert condition(postgresql.dialect()) == condition(sqlite.dialect())


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (throttle_state.pause, ("aitts", NOW + 60, "why", NOW)),
        (throttle_state.pause_polls, ("aitts", NOW + 60, NOW)),
        (throttle_state.reserve_times, ("aitts", 3, NOW, 0.5)),
        (throttle_state.record_response, ("aitts", NOW)),
        (throttle_state.resume, ("aitts",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_throttle_is_changed_by_one_statement(
    database: Database, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """What one process reads, another could change before it is written."""
    assert len(plans_of(database, function, *arguments)) == 1


def test_a_job_is_stored_before_its_key_is_looked_for(database: Database) -> None:
    """Two requests with the same key may come at once: the constraint decides, not what was read before."""
    values: dict[str, Any] = {"source": "aitts", "submit_key": "s", "client_key": "c", "now": NOW, "deadline_at": NOW}
    first = NewJob(id="job_1", request={"text": "Hello"}, **values)
    again = NewJob(id="job_2", request={"text": "Hello"}, **values)
    assert [plan.statement.split()[0] for plan in plans_of(database, jobs.enqueue, first)] == ["INSERT", "SELECT"]
    database.transact(jobs.enqueue, first)
    row, new = database.transact(jobs.enqueue, again)
    assert (row["id"], new) == ("job_1", False)
    assert database.query(jobs.get, "job_2") is None
