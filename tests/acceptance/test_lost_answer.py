"""The answer to a commit is lost: what a process holds and does not know of is released, what it stored counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from receiver.store.states import JobState
from tests.acceptance.support import Site, completed, deliver, until
from tests.chaos.systems import PostgresqlSystem
from tests.postgresql_server import PostgresqlServer
from tests.stores import query

HANDLER = """
from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted)
def uncommon_name(event: JobCompleted, ctx: Context[None]) -> str:
    return "uncommon result"
"""
pytestmark = pytest.mark.postgresql


@pytest.fixture
def system(postgresql: PostgresqlServer, site: Site) -> Iterator[PostgresqlSystem]:
    made = PostgresqlSystem(postgresql)
    yield made
    site.close()
    made.close()


def test_claims_whose_commit_was_not_answered_do_not_wait_for_their_lease(site: Site, system: PostgresqlSystem) -> None:
    site.plugin("work", HANDLER).configure(
        f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{system.url}"', handlers="", dispatch="lease_seconds = 3600"
    )
    receiver = site.start()
    system.proxy.lose_commit_after(b"evt_", b"uncommon_name")  # what only a claim answers

    answered = deliver(receiver.public, completed("job_1"))

    assert answered is not None
    assert answered[0] in (202, 503)  # 503 if one transaction had both the delivery and the claim
    runs = "SELECT state, crashes, attempt, forgiven FROM runs"
    until("the run has ended", lambda: query(system.direct_url, runs)[0]["state"] == "succeeded")
    assert query(system.direct_url, runs) == [{"state": "succeeded", "crashes": 0, "attempt": 2, "forgiven": 1}]
    until("the release is in the log", lambda: any(receiver.lines("dispatch.claims_released")))
    assert [line["runs"] for line in receiver.lines("dispatch.claims_released")] == [1]
    assert receiver.stop() == 0


def test_a_result_whose_commit_was_not_answered_is_reported_as_stored(site: Site, system: PostgresqlSystem) -> None:
    site.plugin("work", HANDLER).configure(
        f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{system.url}"', handlers="", dispatch="lease_seconds = 3600"
    )
    receiver = site.start()
    system.proxy.lose_commit_of(b"uncommon result")

    assert deliver(receiver.public, completed("job_1")) is not None

    receiver.wait_for("run.result_not_stored")
    receiver.wait_for("run.succeeded")
    assert query(system.direct_url, "SELECT state, attempt FROM runs") == [{"state": "succeeded", "attempt": 1}]
    assert receiver.stop() == 0
    assert list(receiver.lines("run.lease_lost")) == []


def test_a_delivery_whose_commit_was_not_answered_is_a_duplicate_when_it_is_repeated(
    site: Site, system: PostgresqlSystem
) -> None:
    site.plugin("work", HANDLER).configure(
        f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{system.url}"', handlers=""
    )
    receiver = site.start()
    system.proxy.lose_commit_of(b"uncommon_job")

    first = deliver(receiver.public, completed("uncommon_job"))
    again = deliver(receiver.public, completed("uncommon_job"))

    assert first == (503, {"error": "unavailable"})
    assert again is not None
    assert (again[0], again[1]["status"]) == (202, "duplicate")
    receiver.wait_for("run.succeeded")  # a claim may have been in the same transaction, and is released then
    counted = "SELECT state, attempt - forgiven AS attempts FROM runs"
    assert query(system.direct_url, counted) == [{"state": "succeeded", "attempts": 1}]
    assert receiver.stop() == 0


def test_a_job_that_a_command_stores_is_one_job_though_its_commit_was_not_answered(
    site: Site, system: PostgresqlSystem
) -> None:
    site.configure(f'[store]\nurl = "{system.url}"', handlers="")
    assert site.command("db", "upgrade").returncode == 0
    system.proxy.lose_commit_of(b"uncommon text")

    done = site.command("speech", "uncommon text", "--source", "aitts", "--voice", "alloy", "--no-wait")

    assert done.returncode == 0, done.stderr
    assert query(system.direct_url, "SELECT id, state FROM jobs") == [
        {"id": done.stdout.strip(), "state": JobState.SUBMITTING}
    ]
