"""Ends that polls see, beside those that webhooks tell of, and jobs that are given up."""

from __future__ import annotations

import pytest

from receiver.engine.jobs.polling import MAX_MISSES
from receiver.store import inbox
from receiver.store.inbox import Receipt
from tests.integration.engine_support import NOW, metric
from tests.integration.outbound_support import Say
from tests.unit.engine.jobs.support import COMPLETED, FAILED, PENDING, Polling, webhook

pytestmark = pytest.mark.anyio


# the ends


@pytest.mark.parametrize(
    ("say", "state", "type"), [(COMPLETED, "completed", "job.completed"), (FAILED, "failed", "job.failed")]
)
async def test_an_end_that_is_seen_becomes_an_event_with_its_runs(up: Polling, say: Say, state: str, type: str) -> None:
    up.watch("a")
    up.answers(lambda job: say)
    await up.poller()
    await up.until_idle()
    event, row = up.event(), up.job()
    assert (event["type"], event["origin"], event["status"], event["job_id"]) == (type, "poll", "accepted", "a")
    assert (event["body"], event["conflict"]) == (say.body, None)
    assert (row["state"], row["event_id"], row["polls"], row["ended_at"]) == (state, event["id"], 1, NOW)
    assert up.runs() == [(event["id"], "notes", "pending")]
    assert up.woken == 1
    line = f'tts_receiver_events_total{{origin="poll",source="miragic",type="{type}"}}'
    assert metric(up.metrics, line) == 1
    assert metric(up.metrics, 'tts_receiver_polls_total{outcome="ended",source="miragic"}') == 1
    await up.jump(600)
    assert up.times == [0]


async def test_a_job_that_another_process_began_to_watch_is_seen_within_a_second(up: Polling) -> None:
    up.answers(lambda job: COMPLETED)
    await up.poller()
    await up.until_idle()
    up.watch("a")
    await up.jump(1)
    assert up.states() == {"completed": 1}


# webhook and poll


@pytest.mark.parametrize(("type", "state"), [("job.completed", "completed"), ("job.failed", "failed")])
async def test_after_a_webhook_nothing_is_asked_any_more(up: Polling, type: str, state: str) -> None:
    up.watch("a")
    with up.writing() as database:
        [receipt] = database.transact(inbox.accept, [webhook("a", type)])
    up.answers(lambda job: COMPLETED)
    await up.poller()
    await up.until_idle()
    row, event = up.job(), up.event()
    assert (row["state"], row["event_id"], row["polls"]) == (state, receipt.event_id, 0)
    assert (event["origin"], event["duplicates"]) == ("webhook", 0)
    assert up.times == []
    assert up.woken == 0


async def test_a_webhook_while_the_poll_is_on_its_way_makes_the_event_and_the_poll_a_duplicate(up: Polling) -> None:
    up.watch("a")
    receipts: list[Receipt] = []

    def behave(job: str) -> Say:
        with up.writing() as database:
            receipts.extend(database.transact(inbox.accept, [webhook("a")]))
        return COMPLETED

    up.answers(behave)
    await up.poller()
    await up.until_idle()
    event = up.event()
    assert event["id"] == receipts[0].event_id == up.job()["event_id"]
    assert (event["origin"], event["duplicates"], event["conflict"]) == ("webhook", 1, None)
    assert up.runs() == [(event["id"], "notes", "pending")]
    assert up.job()["state"] == "completed"


async def test_a_webhook_after_the_poll_is_a_counted_duplicate_and_no_conflict(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: COMPLETED)
    await up.poller()
    await up.until_idle()
    with up.writing() as database:
        [receipt] = database.transact(inbox.accept, [webhook("a")])
    event = up.event()
    assert receipt.duplicate
    assert (event["origin"], event["duplicates"], event["conflict"]) == ("poll", 1, None)
    assert len(up.runs()) == 1


# giving up


async def test_a_job_that_does_not_end_in_time_is_expired_and_its_handlers_are_told(up: Polling) -> None:
    up.watch("a", deadline=100)
    up.answers(lambda job: PENDING)
    await up.poller()
    await up.pass_time(99)
    assert (up.states(), up.events()) == ({"watching": 1}, [])
    polls = len(up.times)
    await up.pass_time(2)
    event, row = up.event(), up.job()
    polls += 1  # once more, at the deadline
    assert (row["state"], row["event_id"], row["polls"]) == ("expired", event["id"], polls)
    assert row["ended_at"] - NOW == pytest.approx(100, abs=0.01)
    assert (event["type"], event["payload"]["error"]["code"]) == ("job.failed", "POLL_TIMEOUT")
    assert up.runs() == [(event["id"], "notes", "pending")]
    assert len(up.times) == polls
    assert up.woken == 1


async def test_a_job_that_ended_while_nobody_was_here_to_ask_is_not_given_up_unasked(up: Polling) -> None:
    up.watch("a", "b", deadline=100)
    up.clock.set(NOW + 5000)
    up.answers(lambda job: COMPLETED if job == "a" else PENDING)
    await up.poller()
    await up.until_idle()
    assert (up.job("a")["state"], up.job("b")["state"]) == ("completed", "expired")
    assert len(up.times) == 2


async def test_a_provider_that_never_answers_does_not_put_off_the_deadline(up: Polling) -> None:
    up.watch("a", deadline=100)
    up.answers(lambda job: Say(500))
    await up.poller()
    await up.pass_time(101)
    assert up.states() == {"expired": 1}
    assert up.event()["payload"]["error"]["code"] == "POLL_TIMEOUT"


async def test_a_job_that_the_provider_does_not_know_five_times_is_given_up(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: Say(404))
    await up.poller()
    await up.until_idle()
    for miss in range(1, MAX_MISSES):
        assert (up.job()["misses"], up.job()["state"]) == (miss, "watching")
        await up.jump(60)
    assert (up.job()["state"], up.job()["polls"]) == ("expired", MAX_MISSES)
    assert up.event()["payload"]["error"]["code"] == "JOB_UNKNOWN"
    assert len(up.runs()) == 1
    await up.jump(600)
    assert len(up.times) == MAX_MISSES


async def test_a_job_that_is_known_after_four_times_goes_on(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: PENDING if len(up.polls[job]) % MAX_MISSES == 0 else Say(404))
    await up.poller()
    await up.until_idle()
    for _ in range(2 * MAX_MISSES - 1):
        await up.jump(60)
    assert (up.job()["state"], up.job()["misses"], up.events()) == ("watching", 0, [])
    assert len(up.times) == 2 * MAX_MISSES
