"""An operation that cannot go on: tried again with smaller pages, then failed with its error, and resumed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from receiver import Settings
from receiver.engine.operation_worker import RETRIES, OperationWorker
from receiver.engine.plugins import load_registry
from receiver.errors import ListingTimeout
from receiver.model.audit import AuditOperation
from receiver.model.redact import Redactor
from receiver.store import operations
from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.migrate import migrate
from receiver.store.schema import events, runs
from tests.clocks import SetClock
from tests.integration.api_support import event_number
from tests.integration.intake_support import Lines, configured
from tests.patience import PATIENCE
from tests.stores import Store, address_of, execute, insert_rows, query

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

MANY = 90
ID = f"chg_{1:032x}"
WAITS = [5.0, 10.0, 20.0, 40.0, 40.0, 40.0, 40.0]


class FewAtOnce(Database):
    """A store in which a page of more than some events takes too long."""

    largest = 1000

    async def read_list(self, function: Callable[..., Any], *args: Any) -> Any:
        if args and isinstance(args[-1], int) and args[-1] > self.largest:
            raise ListingTimeout("it took longer than 5 s")
        return await super().read_list(function, *args)


@pytest.fixture
def settings(tmp_path: Path, store: Store) -> Settings:
    return configured(tmp_path, store={"url": address_of(store)}, handlers={"log": {}})


@pytest.fixture
async def database(store: Store) -> AsyncIterator[FewAtOnce]:
    opened = FewAtOnce(backend_of(address_of(store), Path("/")))
    migrate(opened)
    opened.start()
    yield opened
    opened.close()


@asynccontextmanager
async def working(database: Database, settings: Settings, clock: SetClock) -> AsyncIterator[None]:
    """A process that does operations; waits by its clock end at once."""
    worker = OperationWorker(
        database, settings, load_registry(settings), Redactor(["secret-of-the-test"]), clock,
        owner="worker", runs_due=lambda: None, poll_seconds=lambda usual: usual, released=lambda: None,
    )  # fmt: skip
    worker.start()
    yield
    await worker.stop()


async def accept(database: Database, kind: str = "replay_runs", id: str = ID, **criteria: Any) -> None:
    """An operation on the dead runs of `add_dead`."""
    insert_rows(
        database,
        events,
        *(
            {
                "id": event_number(number), "source": "aitts", "type": "job.completed", "key": f"job-{number}",
                "job_id": f"job-{number}", "origin": "webhook", "status": "accepted", "payload": {}, "body": b"{}",
                "headers": [], "received_at": 1.0, "duplicates": 0, "conflict": False,
            }
            for number in range(1, MANY + 1)
        ),
    )  # fmt: skip
    insert_rows(
        database,
        runs,
        *(
            {"event_id": event_number(number), "handler": "gone", "state": "dead", "finished_at": 1.0, "due_at": 1.0}
            for number in range(1, MANY + 1)
        ),
    )
    filter = {"handler": "gone", "older_than": "evt_~", "metadata": [], **criteria}
    entry = {"at": 2.0, "actor": "app", "via": "api", "filter": {"handler": "gone"}}
    row = {"id": id, "at": 2.0, "operation": kind, "state": "unfinished", "matching": MANY, "updated_at": 2.0}
    execute(database, insert(operations.operations).values(
        **row, entry=entry, criteria={"filter": filter, "handlers": []}
    ))  # fmt: skip


async def until(database: Database, reached: Callable[[dict[str, Any]], bool], id: str = ID) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while not reached(found := await database.read(operations.get, id) or {}):
            await asyncio.sleep(0.01)
    return found


def ended(row: dict[str, Any]) -> bool:
    return bool(row["state"] != "unfinished")


async def test_an_operation_that_never_gets_on_fails_with_its_error_and_is_resumed(
    database: FewAtOnce, settings: Settings
) -> None:
    await accept(database)
    clock = SetClock(100.0)
    execute(database, "ALTER TABLE runs RENAME TO hidden")
    async with working(database, settings, clock):
        failed = await until(database, ended)
        assert (failed["state"], failed["changed"], failed["lease_owner"]) == ("failed", 0, None)
        assert failed["detail"].startswith(f"No progress in {RETRIES.attempts} attempts: ")
        assert "runs" in failed["detail"]
        assert [seconds for seconds in clock.waited if seconds in WAITS][: len(WAITS)] == WAITS
        execute(database, "ALTER TABLE hidden RENAME TO runs")
        assert await database.write(operations.resume, ID, clock.now())
        assert not await database.write(operations.resume, ID, clock.now())
        done = await until(database, ended)
    assert (done["state"], done["changed"], done["detail"]) == ("completed", MANY, None)
    assert {row["state"] for row in query(database, runs)} == {"pending"}
    (entry,) = query(database, "SELECT state, changed FROM audit_entries")
    assert entry == {"state": "completed", "changed": MANY}


async def test_a_page_that_takes_too_long_is_halved_until_it_does_not(
    database: FewAtOnce, settings: Settings, lines: Lines
) -> None:
    database.largest = 20
    await accept(database)
    clock = SetClock(100.0)
    async with working(database, settings, clock):
        done = await until(database, ended)
    assert (done["state"], done["changed"], done["detail"]) == ("completed", MANY, None)
    reasons = [line["detail"] for line in lines.of("operation.interrupted")]
    assert reasons[0] == f"Attempt 1 of {RETRIES.attempts} failed: it took longer than 5 s"


async def test_the_next_operation_begins_after_one_has_failed(database: FewAtOnce, settings: Settings) -> None:
    database.largest = 0
    await accept(database)
    second = f"chg_{2:032x}"
    execute(database, f"INSERT INTO operations (id, at, operation, state, matching, updated_at, entry, criteria) "
        f"SELECT '{second}', at, operation, state, matching, updated_at, entry, criteria FROM operations")  # fmt: skip
    async with working(database, settings, SetClock(100.0)):
        assert (await until(database, ended))["state"] == "failed"
        database.largest = 1000
        assert (await until(database, ended, second))["changed"] == MANY
        assert await database.write(operations.stop, ID, 200.0), "no operator is needed any more"
    assert (await until(database, ended))["state"] == "stopped"


async def test_what_another_attempt_would_not_cure_fails_at_once(database: FewAtOnce, settings: Settings) -> None:
    await accept(database, metadata=[["customer", "acme"]])
    clock = SetClock(100.0)
    async with working(database, settings, clock):
        failed = await until(database, ended)
    assert failed["state"] == "failed"
    assert "`tts-receiver db index-metadata`" in failed["detail"]
    assert not set(WAITS[1:]) & set(clock.waited)


async def test_an_operation_of_a_later_release_is_left_to_it(
    database: FewAtOnce, settings: Settings, lines: Lines
) -> None:
    assert "tag_runs" not in set(AuditOperation)
    await accept(database, "tag_runs")
    async with working(database, settings, SetClock(100.0)), asyncio.timeout(PATIENCE):
        while not lines.of("operation.not_known"):
            await asyncio.sleep(0.01)
    (row,) = query(database, "SELECT state, lease_owner FROM operations")
    assert row == {"state": "unfinished", "lease_owner": None}
