"""The answer to a commit of claims is lost: the process holds runs that it does not know of, and gives them back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.support import Site, completed, deliver, until
from tests.chaos.systems import PostgresqlSystem
from tests.postgresql_server import PostgresqlServer
from tests.stores import query

HANDLER = """
from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted)
def uncommon_name(event: JobCompleted, ctx: Context[None]) -> str:
    return "done"
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
    assert answered[0] == 202
    runs = "SELECT state, crashes, attempt, forgiven FROM runs"
    until("the run has ended", lambda: query(system.direct_url, runs)[0]["state"] == "succeeded")
    assert query(system.direct_url, runs) == [{"state": "succeeded", "crashes": 0, "attempt": 2, "forgiven": 1}]
    until("the release is in the log", lambda: any(receiver.lines("dispatch.claims_released")))
    assert [line["runs"] for line in receiver.lines("dispatch.claims_released")] == [1]
    assert receiver.stop() == 0
