"""A statement of a batch looks at each of its runs once, whatever the server believes of the table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from receiver.model.slots import Slots
from receiver.store import claims, inbox, runs
from receiver.store.claims import Claim, ClaimRequest
from receiver.store.database import Database
from receiver.store.leases import Lease
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from tests.unit.store.conftest import MakeDelivery

pytestmark = pytest.mark.postgresql

NOW = 1.8e9
BATCH = 64
Explained = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> Explained:
    """The statements with `unnest` that were executed, each with its plan and what that did."""
    found: Explained = []
    execute: Callable[..., Any] = psycopg.Connection.execute

    def explain(connection: Any, statement: str, parameters: Any = None, **options: Any) -> Any:
        if "unnest" in statement:
            execute(connection, "SAVEPOINT explained")
            rows = execute(connection, f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).fetchall()
            execute(connection, "ROLLBACK TO SAVEPOINT explained")
            plan = rows[0][0]
            found.append((statement, (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
        return execute(connection, statement, parameters, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", explain)
    return found


@pytest.fixture
def claimed(database: Database, delivery: MakeDelivery) -> list[Claim]:
    """Runs that have started. The server believes that none has: it looked at the table before."""
    deliveries = [delivery(job=f"job-{number}", handlers=("save",)) for number in range(4 * BATCH)]
    database.transact(inbox.accept, deliveries)
    with database._writer_engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute("VACUUM ANALYZE")
    request = ClaimRequest(Slots(BATCH, {"save": None}).free({}), Lease("me", NOW + 30), NOW)
    return database.transact(claims.claim, request).started


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def test_a_batch_of_runs_is_not_compared_with_each_running_run(
    database: Database, claimed: list[Claim], explained: Explained
) -> None:
    keys = [claim.key for claim in claimed]
    half = BATCH // 2
    succeeded = [RunResult(claim, "me", "succeeded", RunState.SUCCEEDED, NOW + 1) for claim in claimed[:half]]
    failed = [RunResult(claim, "me", "failed", RunState.DEAD, NOW + 1, error="no") for claim in claimed[half:]]

    assert len(claimed) == BATCH
    assert database.transact(claims.extend, keys, "me", NOW + 60) == []
    assert database.transact(runs.finish, succeeded) == [True] * half
    assert database.transact(runs.finish, failed) == [True] * half
    named = [key[:2] for key in keys]
    database.transact(runs.replay, named, NOW + 2)
    database.transact(runs.cancel, named, NOW + 3)

    assert len(explained) >= 5
    for statement, plan in explained:
        for node in nodes(plan):
            assert node.get("Rows Removed by Join Filter", 0) == 0, statement
            assert node["Node Type"] != "Function Scan" or node["Actual Loops"] == 1, statement
