"""The answer to a commit is lost with the connection, while a job is claimed, submitted or polled.

What is stored is not done again, and what follows from it is done: nothing waits for a lease, and each line is logged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from receiver.engine.jobs.service import JobService
from receiver.providers import PROVIDERS
from receiver.providers.types import Speech
from tests.chaos.proxy import Proxy
from tests.integration.engine_support import metric
from tests.integration.intake_support import Lines
from tests.integration.outbound_support import ReceivedRequest, Say
from tests.postgresql_server import PostgresqlServer
from tests.recording import recorder
from tests.stores import postgresql_address, query
from tests.unit.engine.jobs.support import COMPLETED, PENDING, Polling, polling
from tests.unit.engine.jobs.test_submitting import KEYED, KEYLESS, error, loop_of, row, taken_on

pytestmark = [pytest.mark.anyio, pytest.mark.postgresql]


@pytest.fixture
def direct(postgresql: PostgresqlServer) -> Iterator[str]:
    with postgresql_address(postgresql) as address:
        yield address


@pytest.fixture
def proxy(postgresql: PostgresqlServer, direct: str) -> Iterator[Proxy]:
    proxy = Proxy(postgresql.socket)
    yield proxy
    proxy.close()


@pytest.fixture
async def up(direct: str, proxy: Proxy) -> AsyncIterator[Polling]:
    async with polling(proxy.address_of(direct)) as it:
        yield it


async def submitted(up: Polling, source: str = KEYLESS, **answer: Any) -> str:
    """Our id of a job that a running loop has not seen yet."""
    up.takes_on(lambda request: taken_on(source, **answer))
    await loop_of(up, source)
    await up.until_idle()
    return up.submit("uncommon text", source=source)


async def test_a_job_that_was_claimed_does_not_wait_for_its_lease(up: Polling, proxy: Proxy, lines: Lines) -> None:
    id = await submitted(up)
    proxy.lose_commit_after(b"uncommon text")  # what only a claim is answered
    await up.pass_time(3)
    assert [line["jobs"] for line in lines.of("poll.claims_released")] == [1]
    assert (row(up, id)["state"], row(up, id)["submits"], len(up.submits)) == ("watching", 1, 1)


async def test_a_submit_that_was_not_sent_yet_is_sent(up: Polling, proxy: Proxy, lines: Lines) -> None:
    id = await submitted(up)
    proxy.lose_commit_of(b"SET submits=")
    await up.pass_time(3)
    assert len(lines.of("submit.not_stored")) == 1
    assert (row(up, id)["state"], row(up, id)["submits"], len(up.submits)) == ("watching", 1, 1)


@pytest.mark.parametrize("ended", [False, True])
async def test_a_job_that_was_submitted_is_reported_once(up: Polling, proxy: Proxy, lines: Lines, ended: bool) -> None:
    id = await submitted(up, KEYED, **({"status": "completed"} if ended else {}))
    proxy.lose_commit_of(b"submitted_at=")
    await up.pass_time(3)
    assert len(lines.of("submit.not_stored")) == len(lines.of("job.submitted")) == len(up.submits) == 1
    assert lines.of("submit.lease_lost") == []
    assert row(up, id)["state"] == ("completed" if ended else "watching")
    assert len(lines.of("job.ended")) == len(up.events()) == up.woken == int(ended)


async def test_a_submit_that_was_refused_does_not_count_twice(up: Polling, proxy: Proxy) -> None:
    answers = [error(429, "RATE_LIMIT_EXCEEDED", **{"Retry-After": "5"}), taken_on(KEYLESS)]

    def behave(request: ReceivedRequest) -> Say:
        return answers.pop(0)

    up.takes_on(behave)
    await loop_of(up, KEYLESS)
    id = up.submit()
    proxy.lose_commit_of(b"provider_rate_limited")
    await up.pass_time(10)
    assert (row(up, id)["state"], row(up, id)["submits"], len(up.submits)) == ("watching", 1, 2)


@pytest.mark.parametrize("state", ["completed", "expired"])
async def test_an_end_that_a_poll_has_found_is_reported_once(
    up: Polling, proxy: Proxy, lines: Lines, state: str
) -> None:
    up.watch("a", deadline=0 if state == "expired" else 3600)
    up.answers(lambda job: PENDING if state == "expired" else COMPLETED)
    proxy.lose_commit_of(b"POLL_TIMEOUT" if state == "expired" else b"storage.example/a.mp3")
    await up.poller()
    await up.pass_time(3)
    assert len(lines.of("poll.not_stored")) == len(lines.of("job.ended")) == len(up.times) == up.woken == 1
    assert (up.job()["state"], up.job()["polls"], up.event()["duplicates"]) == (state, 1, 0)
    [event] = up.events()
    labels = f'origin="poll",source="miragic",type="{event["type"]}"'
    assert metric(up.metrics, f"tts_receiver_events_total{{{labels}}}") == 1


async def test_a_job_that_a_client_creates_is_one_job(up: Polling, proxy: Proxy) -> None:
    await up.poller(provider=PROVIDERS[KEYLESS])
    await up.until_idle()
    database = up.databases[0]
    service = JobService(database, up.sources, lambda name: None, str, clock=up.clock, rng=up.rng)
    proxy.lose_commit_of(b"uncommon text")
    created, new = await service.submit(recorder(), "miragic", Speech(text="uncommon text", voice="alloy"))
    assert new
    assert [job["id"] for job in query(up.store, "SELECT id FROM jobs")] == [created["id"]]
    assert [entry["changed"] for entry in query(up.store, "SELECT changed FROM audit_entries")] == [1]
