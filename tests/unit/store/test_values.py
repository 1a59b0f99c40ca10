"""Text and numbers from outside are the same in every database: what one cannot keep is escaped before all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.engine.outcome import Outcome
from receiver.model.slots import Slots
from receiver.store import inbox, job_leases, jobs, runs, views
from receiver.store.database import Database
from receiver.store.jobs import NewJob
from receiver.store.leases import Lease
from receiver.store.runs import RunResult
from receiver.store.states import JobState, RunState
from tests.claiming import claim_due
from tests.unit.store.conftest import NOW, MakeDelivery

ODD = "a\0b \ud83d c\U0001f600 \x1b\u202e"
KEPT = "a\\x00b \\ud83d c\U0001f600 \x1b\u202e"
VALUES: list[Any] = [
    ODD, "", 2**63, -(10**40), 2**53 + 1, 0.1, 1e308, 5e-324, -0.0, None, True, [], {"\0": {"\udfff": [1]}},
]  # fmt: skip


def claimed_job(database: Database, id_: str) -> job_leases.JobClaim:
    values: dict[str, Any] = {"source": "aitts", "submit_key": "s", "client_key": None, "now": NOW, "deadline_at": NOW}
    database.transact(jobs.enqueue, NewJob(id=id_, request={"text": "Hello"}, **values))
    [claimed] = database.transact(job_leases.claim, "aitts", 1, NOW, Lease("me", NOW + 30))
    return claimed


def test_what_an_error_says_is_kept(database: Database, delivery: MakeDelivery) -> None:
    database.transact(inbox.accept, [delivery("j")])
    [claimed] = database.transact(claim_due, Slots(1, {"save_audio": None}).free({}), "me", NOW, NOW + 30)
    error = Outcome.of_error(ValueError(ODD)).text
    database.transact(runs.finish, [RunResult(claimed, "me", "failed", RunState.DEAD, NOW + 1, error=error)])
    row = database.query(views.get_event, claimed.event_id)
    assert row is not None
    assert row["runs"][0]["error"] == f"ValueError: {KEPT}"


@pytest.mark.parametrize("how", ["reschedule", "reschedule_submit", "mark_not_submitted"])
def test_what_a_provider_says_is_kept(database: Database, how: str) -> None:
    claimed = claimed_job(database, "job_1")

    def write(connection: Any) -> bool:
        if how == "reschedule":
            return job_leases.reschedule(connection, claimed, NOW, NOW, code="code", error=ODD)
        if how == "reschedule_submit":
            return job_leases.reschedule_submit(connection, claimed, NOW, NOW, "code", ODD, refused=False)
        return job_leases.mark_not_submitted(connection, claimed, JobState.FAILED, NOW, "code", ODD)

    assert database.transact(write)
    row = database.query(jobs.get, "job_1")
    assert row is not None
    assert row["error"] == KEPT


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_json_is_read_as_it_was_written(database: Database, delivery: MakeDelivery, value: Any) -> None:
    document = {"value": value}
    one = delivery("j", payload=json.dumps(document), headers=json.dumps([["x", value]]))
    database.transact(inbox.accept, [one])
    [claimed] = database.transact(claim_due, Slots(1, {"save_audio": None}).free({}), "me", NOW, NOW + 30)
    assert repr(claimed.event["payload"]) == repr(document)
    result = RunResult(claimed, "me", "succeeded", RunState.SUCCEEDED, NOW + 1, result=document)
    database.transact(runs.finish, [result])
    row = database.query(views.get_event, one.event_id)
    assert row is not None
    assert repr(row["payload"]) == repr(document)
    assert repr(row["headers"]) == repr([["x", value]])
    assert repr(row["runs"][0]["result"]) == repr(document)
    values: dict[str, Any] = {"source": "aitts", "submit_key": "s", "client_key": "c", "now": NOW, "deadline_at": NOW}
    database.transact(jobs.enqueue, NewJob(id="job_1", request=document, **values))
    again, new = database.transact(jobs.enqueue, NewJob(id="job_2", request=document, **values))
    assert (again["id"], new) == ("job_1", False)
