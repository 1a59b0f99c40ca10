"""What is written again, because the answer to its commit was lost: it is recognised, and nothing is done twice.

The random work of `machine.py` writes again, too; here each result has its test.
"""

from __future__ import annotations

from typing import Any

import pytest

from receiver.engine.crashes import CrashedRuns
from receiver.model.retry import RetryPolicy
from receiver.model.slots import Slots
from receiver.store import claims, inbox, job_leases, jobs, waiting_runs
from receiver.store.database import Database
from receiver.store.job_leases import JobClaim
from receiver.store.jobs import NewJob
from receiver.store.leases import Lease
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from receiver.telemetry.log import LogTelemetry
from tests.chaos.proxy import Proxy
from tests.claiming import claim_due
from tests.clocks import FixedRandom
from tests.integration.engine_support import registry
from tests.integration.intake_support import logged
from tests.postgresql_server import PostgresqlServer
from tests.stores import open_store, postgresql_address, query
from tests.unit.store.conftest import NOW, MakeDelivery

RESULTS: dict[str, dict[str, Any]] = {
    "succeeded": {"state": RunState.SUCCEEDED, "result": "done"},
    "failed": {"state": RunState.PENDING, "due_at": NOW + 9, "error": "It failed."},
    "postponed": {"state": RunState.PENDING, "due_at": NOW + 9, "forgiven": 1, "waits_for": "audio_storage"},
}


def table(database: Database, name: str) -> list[dict[str, Any]]:
    return query(database, f"SELECT * FROM {name}")


@pytest.mark.parametrize("outcome", RESULTS)
def test_a_result_of_a_run_is_stored_once(database: Database, delivery: MakeDelivery, outcome: str) -> None:
    database.transact(inbox.accept, [delivery()])
    [claim] = database.transact(claim_due, Slots(9, {"save_audio": 9}).free({}), "me", NOW, NOW + 30)
    result = RunResult(claim, "me", outcome, ended=NOW + 1, **RESULTS[outcome])
    assert database.transact(waiting_runs.finish, [result]) == [True]
    before = table(database, "runs"), table(database, "attempts")
    assert database.transact(waiting_runs.finish, [result]) == [True]
    assert database.transact(waiting_runs.finish, [result._replace(ended=NOW + 2, due_at=NOW + 8)]) == [False]
    assert (table(database, "runs"), table(database, "attempts")) == before


def test_an_event_is_no_duplicate_of_itself(database: Database, delivery: MakeDelivery) -> None:
    failed, completed, stale = delivery(type="job.failed"), delivery(), delivery("job_2", quarantined=True)
    first = [database.transact(inbox.accept, [item]) for item in (failed, completed, stale)]
    before = table(database, "events")
    assert [database.transact(inbox.accept, [item]) for item in (failed, completed, stale)] == first
    assert table(database, "events") == before


def test_a_submit_counts_once_and_its_job_is_watched_once(database: Database) -> None:
    def twice(method: Any, *arguments: Any, **named: Any) -> Any:
        first = database.transact(lambda connection: method(connection, *arguments, **named))
        assert database.transact(lambda connection: method(connection, *arguments, **named)) == first
        return first

    values: dict[str, Any] = {"source": "aitts", "submit_key": "s", "client_key": None, "now": NOW}
    _, is_new = twice(jobs.enqueue, NewJob(id="job_1", request={"text": "Hello"}, deadline_at=NOW + 60, **values))
    assert is_new

    def claimed() -> JobClaim:
        [claim] = database.transact(job_leases.claim, "aitts", 1, NOW, Lease("me", NOW + 30))
        return claim

    claim = claimed()
    assert twice(job_leases.begin_submit, claim)
    assert twice(job_leases.reschedule_submit, claim, NOW, NOW, "late", "Late.", refused=False)
    claim = claimed()
    assert claim.submits == 1
    assert twice(job_leases.begin_submit, claim)
    assert twice(job_leases.reschedule_submit, claim, NOW, NOW, "busy", "Busy.", refused=True)
    claim = claimed()
    assert claim.submits == 1
    assert twice(job_leases.mark_submitted, claim, "a", NOW, NOW, NOW + 60)["state"] == "watching"
    claim = claimed()
    assert twice(job_leases.reschedule, claim, NOW, NOW)
    assert claimed().polls == 1


def test_a_second_job_with_one_id_of_the_provider_fails_once(database: Database) -> None:
    values: dict[str, Any] = {"source": "aitts", "client_key": None, "now": NOW, "deadline_at": NOW + 60}
    for id in ("job_1", "job_2"):
        database.transact(jobs.enqueue, NewJob(id=id, request={"text": "Hello"}, submit_key=id, **values))
    claimed = database.transact(job_leases.claim, "aitts", 2, NOW, Lease("me", NOW + 30))
    rows = [database.transact(job_leases.mark_submitted, claim, "a", NOW, NOW + 9, NOW + 60) for claim in claimed]
    assert [row and row["state"] for row in rows] == ["watching", "failed"]
    again = [database.transact(job_leases.mark_submitted, claim, "a", NOW, NOW + 9, NOW + 60) for claim in claimed]
    assert again == rows


@pytest.mark.anyio
@pytest.mark.postgresql
async def test_a_crash_is_reported_although_the_answer_to_its_commit_was_lost(
    postgresql: PostgresqlServer, delivery: MakeDelivery
) -> None:
    with postgresql_address(postgresql) as address, logged() as lines:
        proxy = Proxy(postgresql.socket)
        database = open_store(proxy.address_of(address))
        database.start()
        database.transact(inbox.accept, [delivery()])
        database.transact(claim_due, Slots(9, {"save_audio": 9}).free({}), "dead", NOW, NOW + 30)
        crashed = CrashedRuns(
            database, registry(), backoff=RetryPolicy(), telemetry=LogTelemetry(), rng=FixedRandom(0.5)
        )
        proxy.lose_commit_of(b"crashed")
        await crashed.recover(database.query(claims.expired, NOW + 31), NOW + 31)
        assert [line["handler"] for line in lines.of("run.crashed")] == ["save_audio"]
        assert [run["state"] for run in table(database, "runs")] == ["pending"]
        database.close()
        proxy.close()
