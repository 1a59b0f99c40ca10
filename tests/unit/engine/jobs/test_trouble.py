"""What goes wrong on our own side: faults, a store that is away, a stop in the middle."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack

import pytest

from receiver.engine.jobs.source import LEASE_SECONDS
from receiver.providers.miragic import Miragic
from receiver.providers.types import Account, Request, Response, Speech, Status, Submitted
from receiver.store import database as database_module
from receiver.store import jobs
from tests.integration.engine_support import NOW, metric
from tests.integration.intake_support import Lines
from tests.integration.outbound_support import Say
from tests.stores import WriteLock, execute, query
from tests.unit.engine.jobs.support import COMPLETED, PENDING, Polling

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]


# what goes wrong here


async def test_a_job_cancelled_while_its_poll_is_on_its_way_has_no_event(up: Polling) -> None:
    up.watch("a")

    def behave(job: str) -> Say:
        with up.writing() as database:
            assert database.transact(jobs.cancel, up.job()["id"], NOW)
        return COMPLETED

    up.answers(behave)
    await up.poller()
    await up.until_idle()
    assert (up.job()["state"], up.job()["event_id"]) == ("cancelled", None)
    assert (up.events(), up.woken) == ([], 0)


class Broken(Miragic):
    """A provider module with a bug: it breaks on one job, a given number of times."""

    def __init__(self, times: float) -> None:
        self.times = times

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        if job_id == "bad" and self.times > 0:
            self.times -= 1
            raise RuntimeError("a fault of ours")
        return super().read_status(account, job_id, response)


async def test_a_poll_that_breaks_ends_neither_the_poller_nor_its_job(up: Polling, lines: Lines) -> None:
    up.watch("a", "bad", "c")
    up.answers(lambda job: COMPLETED)
    poller = await up.poller(provider=Broken(1))
    await up.until_idle()
    assert poller.alive
    assert [up.job(job)["state"] for job in ("a", "bad", "c")] == ["completed", "watching", "completed"]
    [trace], [line] = lines.of("provider.failed"), lines.of("poll.failed")
    assert trace["call"] == "tests.unit.engine.jobs.test_trouble.Broken.read_status"
    assert "a fault of ours" in trace["exception"]
    assert (line["job"], line["reason"]) == ("bad", "provider_module_failed")
    assert "RuntimeError: a fault of ours" in line["detail"]
    assert metric(up.metrics, 'tts_receiver_polls_total{outcome="provider_module_failed",source="miragic"}') == 1
    up.watch("d")
    await up.jump(1)
    assert up.job("d")["state"] == "completed"
    assert len(up.polls["bad"]) == 1
    await up.jump(LEASE_SECONDS)
    assert up.job("bad")["state"] == "completed"


class NotBuilt(Miragic):
    """A provider module with a bug: it builds no submit."""

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        return Request("POST", {}["url"])


class NotRead(Miragic):
    """A provider module with a bug: it reads no response to a submit."""

    def read_submit(self, account: Account, response: Response) -> Submitted:
        raise KeyError("job_id")


@pytest.mark.parametrize(("provider", "sent", "state"), [(NotBuilt(), 0, "failed"), (NotRead(), 1, "unknown")])
async def test_a_provider_module_that_breaks_on_a_submit_is_named_in_the_job_the_log_and_the_metrics(
    up: Polling, lines: Lines, provider: Miragic, sent: int, state: str
) -> None:
    up.takes_on(lambda request: Say(200, {}, b"{}"))
    await up.poller(provider=provider)
    id = up.submit()
    await up.jump(1)
    [row] = query(up.store, "SELECT * FROM jobs WHERE id = :id", id=id)
    assert (row["state"], row["error_code"], len(up.submits)) == (state, "provider_module_failed", sent)
    assert "KeyError" in row["error"]
    [line] = lines.of("submit.failed")
    assert (line["id"], line["reason"]) == (id, "provider_module_failed")
    [trace] = lines.of("provider.failed")
    assert f".{type(provider).__name__}." in trace["call"]
    assert metric(up.metrics, 'tts_receiver_submits_total{outcome="provider_module_failed",source="miragic"}') == 1


async def test_a_job_that_breaks_every_poll_is_given_up_at_its_deadline(up: Polling) -> None:
    up.watch("bad", deadline=200)
    up.answers(lambda job: COMPLETED)
    await up.poller(provider=Broken(math.inf))
    for _ in range(4):
        await up.jump(LEASE_SECONDS + 1)
    assert up.job("bad")["state"] == "expired"


async def test_a_store_that_is_away_is_looked_for_again(
    up: Polling, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    up.watch("a")
    up.answers(lambda job: COMPLETED)
    with WriteLock(up.store):
        poller = await up.poller()
        await up.until_idle()
        await up.jump(1)
        assert len(lines.of("poll.store_unavailable")) == 2
        assert poller.alive
        assert up.times == []
    await up.jump(1)
    assert up.states() == {"completed": 1}


async def test_an_end_that_could_not_be_stored_is_stored_once_the_store_is_back(
    up: Polling, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    up.watch("a")
    lock = AsyncExitStack()

    def behave(job: str) -> Say:
        if len(up.polls[job]) == 1:
            lock.enter_context(WriteLock(up.store))
        return COMPLETED

    up.answers(behave)
    async with lock:
        await up.poller()
        await up.until_idle()
        assert len(lines.of("poll.not_stored")) == 1
        assert (up.job()["state"], up.events()) == ("watching", [])
    await up.jump(2)
    assert (up.job()["state"], up.event()["duplicates"]) == ("completed", 0)
    assert len(up.times) == 1


async def test_a_poller_stopped_in_the_middle_gives_its_job_back_to_the_next(up: Polling) -> None:
    up.watch("a")
    never = asyncio.Event()

    async def behave(job: str) -> Say:
        if len(up.polls[job]) == 1:
            await never.wait()
        return COMPLETED

    up.answers(behave)
    first = await up.poller()
    await up.until(lambda: up.times)
    await first.stop()
    up.pollers.remove(first)
    assert not first.alive
    assert (up.job()["state"], up.job()["polls"], up.events()) == ("watching", 0, [])
    assert up.job()["lease_until"] is None
    await up.poller()
    await up.until_idle()
    assert up.times == [0, 0]
    assert up.states() == {"completed": 1}
    assert len(up.events()) == 1
    never.set()


async def test_a_poller_stops_while_it_waits_for_its_turn(up: Polling) -> None:
    up.watch("a", "b", "c")
    up.answers(lambda job: PENDING)
    poller = await up.poller(rate=0.1)
    await up.until_idle()
    await poller.stop()
    up.pollers.remove(poller)
    assert up.times == [0]


async def test_a_job_made_due_by_hand_is_polled_at_the_next_look(up: Polling) -> None:
    up.watch("a")
    execute(up.store, "UPDATE jobs SET due_at = :due", due=NOW + 1000)
    up.answers(lambda job: COMPLETED)
    await up.poller()
    await up.until_idle()
    with up.writing() as database:
        assert database.transact(jobs.poll_now, up.job()["id"], NOW)
    await up.jump(1)
    assert up.times == [1]


async def test_no_job_is_held_while_its_source_waits_long_for_a_turn(up: Polling) -> None:
    up.watch("a", "b")
    up.answers(lambda job: PENDING)
    await up.poller(rate=0.01)
    await up.pass_time(20)
    assert up.times == [0]
    assert (up.job("a")["lease_until"], up.job("b")["lease_until"]) == (None, None)
