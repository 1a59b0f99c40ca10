"""Submitting: no job is lost, and none is charged twice without a word. With and without idempotency keys."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import update

from receiver.engine.jobs.source import LEASE_SECONDS
from receiver.engine.jobs.submitting import RETRY_POLICY
from receiver.engine.throttle import LIMIT_PAUSE_SECONDS
from receiver.model.poll_schedule import PollSchedule
from receiver.outbound.client import Timeouts
from receiver.providers import PROVIDERS
from receiver.store import database as database_module
from receiver.store import inbox, job_leases, jobs, schema
from receiver.store.leases import Lease
from tests.integration.engine_support import NOW, metric
from tests.integration.intake_support import Lines
from tests.integration.outbound_support import ReceivedRequest, Say
from tests.stores import WriteLock, execute, query
from tests.unit.engine.jobs.support import KEY, Polling, Watched, webhook

pytestmark = pytest.mark.anyio

KEYED = "aitts"
KEYLESS = "miragic"
BOTH = pytest.mark.parametrize("source", [KEYED, KEYLESS])
UNCERTAIN = [
    Say(500),
    Say(502, {}, b"<html>Bad Gateway</html>"),
    Say(200, {}, b"{}"),
    Say(202, {}, b'{"data": {"job_'),
    Say(202, {}, b"x" * 50, cut=10),
]
REFUSED = [
    (400, "VALIDATION_ERROR", "provider_invalid"),
    (400, "INVALID_VOICE", "provider_invalid"),
    (401, "UNAUTHORIZED", "provider_unauthorized"),
    (402, "INSUFFICIENT_CREDITS", "provider_credits"),
    (409, "IDEMPOTENCY_KEY_REUSE", "provider_key_reused"),
]


def taken_on(source: str, job_id: str = "a", **data: Any) -> Say:
    """The provider's answer to a submit."""
    named = {"job_id": job_id} if source == KEYED else {"jobId": job_id}
    body = {"success": True, "data": {**named, "status": "pending", **data}}
    return Say(202 if source == KEYED else 200, {"Content-Type": "application/json"}, json.dumps(body).encode())


def error(status: int, code: str, **headers: str) -> Say:
    body = {"success": False, "error": {"code": code, "message": "In its own words."}}
    return Say(status, headers, json.dumps(body).encode())


async def loop_of(up: Polling, source: str, **values: Any) -> Watched:
    return await up.poller(source=source, provider=PROVIDERS[source], **values)


def row(up: Polling, id_: str) -> dict[str, Any]:
    with up.writing() as database:
        found = database.query(jobs.get, id_)
    assert found is not None
    return found


def keys(up: Polling) -> set[str]:
    return {request.headers["idempotency-key"] for request in up.submits}


@BOTH
async def test_a_submitted_job_is_watched_under_the_providers_id(up: Polling, lines: Lines, source: str) -> None:
    up.takes_on(lambda request: taken_on(source))
    loop = await loop_of(up, source)
    id_ = up.submit(source=source)
    loop.wake()
    await up.jump(1)
    found = row(up, id_)
    assert (found["state"], found["job_id"], found["submits"], found["error"]) == ("watching", "a", 1, None)
    assert found["deadline_at"] == found["submitted_at"] + 3600
    [request] = up.submits
    assert b"Hello" in request.body
    [line] = lines.of("job.submitted")
    assert (line["job"], line["id"]) == ("a", id_)
    assert metric(up.metrics, f'tts_receiver_submits_total{{outcome="submitted",source="{source}"}}') == 1
    assert KEY not in lines.text


async def test_a_job_with_a_webhook_is_polled_only_after_the_webhook_had_its_time(up: Polling) -> None:
    up.takes_on(lambda request: taken_on(KEYED))
    await loop_of(up, KEYED, schedule=PollSchedule(first_seconds=120, min_seconds=2, deadline_seconds=3600))
    up.submit(source=KEYED)
    await up.pass_time(119)
    assert len(up.submits) == 1
    assert up.times == []
    await up.pass_time(3)
    assert len(up.times) == 1


@BOTH
async def test_a_job_that_ended_at_once_needs_no_poll(up: Polling, source: str) -> None:
    done = {"status": "completed", "audio_url": "https://x.example/a", "audioUrl": "https://x.example/a"}
    up.takes_on(lambda request: taken_on(source, **done))
    await loop_of(up, source)
    id_ = up.submit(source=source)
    await up.jump(1)
    event = up.event()
    assert (event["type"], event["origin"], event["job_id"]) == ("job.completed", "submit", "a")
    assert (row(up, id_)["state"], row(up, id_)["event_id"]) == ("completed", event["id"])
    assert up.runs() == [(event["id"], "notes", "pending")]
    assert up.woken == 1
    assert up.times == []


async def test_a_webhook_that_is_quicker_than_the_submits_answer_makes_the_event(up: Polling) -> None:
    def behave(request: ReceivedRequest) -> Say:
        with up.writing() as database:
            database.transact(inbox.accept, [webhook("a")._replace(source=KEYED)])
        return taken_on(KEYED)

    up.takes_on(behave)
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED)
    await up.jump(1)
    assert row(up, id_)["state"] == "completed"
    assert row(up, id_)["event_id"] == up.event()["id"]
    assert up.times == []


# what is refused


@pytest.mark.parametrize(("status", "code", "reason"), REFUSED)
async def test_what_the_provider_refuses_has_failed_says_why_and_is_not_asked_again(
    up: Polling, lines: Lines, status: int, code: str, reason: str
) -> None:
    up.takes_on(lambda request: error(status, code))
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED)
    await up.jump(1)
    found = row(up, id_)
    assert (found["state"], found["error_code"]) == ("failed", reason)
    assert "In its own words." in found["error"]
    [line] = lines.of("job.not_submitted")
    assert (line["reason"], line["state"], line["level"]) == (reason, "failed", "error")
    await up.jump(600)
    assert len(up.submits) == 1
    assert up.events() == []


async def test_a_refused_key_does_not_keep_the_next_submit_from_being_tried(up: Polling) -> None:
    up.takes_on(lambda request: error(401, "UNAUTHORIZED") if len(up.submits) == 1 else taken_on(KEYED))
    await loop_of(up, KEYED)
    up.submit("one", source=KEYED)
    await up.jump(1)
    second = up.submit("two", source=KEYED)
    await up.jump(1)
    assert row(up, second)["state"] == "watching"


@BOTH
@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "30"}, 30.0), ({}, LIMIT_PAUSE_SECONDS)])
async def test_too_many_requests_made_no_job_and_are_waited_for(
    up: Polling, source: str, headers: dict[str, str], seconds: float
) -> None:
    up.takes_on(lambda request: Say(429, headers) if len(up.submits) == 1 else taken_on(source))
    await loop_of(up, source)
    id_ = up.submit(source=source)
    await up.pass_time(seconds - 0.5)
    found = row(up, id_)
    assert (found["state"], found["submits"], found["error_code"]) == ("submitting", 0, "provider_rate_limited")
    assert len(up.submits) == 1
    await up.pass_time(2)
    assert row(up, id_)["state"] == "watching"
    assert len(up.submits) == 2


@BOTH
async def test_what_never_left_is_sent_again_until_it_does(up: Polling, source: str) -> None:
    await loop_of(up, source, base_url="http://127.0.0.1:1")
    id_ = up.submit(source=source)
    await up.jump(1)
    found = row(up, id_)
    assert (found["state"], found["submits"], found["error_code"]) == ("submitting", 0, "connect_failed")
    assert found["due_at"] > up.clock.now()
    await up.jump(3700)
    assert (row(up, id_)["state"], row(up, id_)["error_code"]) == ("failed", "submit_timeout")


async def test_an_address_that_is_not_allowed_is_never_connected_to(up: Polling) -> None:
    up.takes_on(lambda request: taken_on(KEYLESS))
    await loop_of(up, KEYLESS, private=False)
    id_ = up.submit(source=KEYLESS)
    await up.jump(1)
    assert (row(up, id_)["state"], row(up, id_)["error_code"]) == ("failed", "blocked_address")
    assert up.submits == []


# what is not certain


@pytest.mark.parametrize("say", UNCERTAIN, ids=lambda say: f"{say.status}-{say.body[:12]!r}")
async def test_without_keys_an_uncertain_answer_is_left_to_a_person_and_never_repeated(
    up: Polling, lines: Lines, say: Say
) -> None:
    up.takes_on(lambda request: say)
    await loop_of(up, KEYLESS)
    id_ = up.submit(source=KEYLESS)
    await up.jump(1)
    found = row(up, id_)
    assert found["state"] == "unknown"
    assert f"jobs watch --source miragic --for {id_}" in found["error"]
    for _ in range(3):
        await up.jump(1300)
    assert len(up.submits) == 1
    assert row(up, id_)["state"] == "unknown"
    [line] = lines.of("job.not_submitted")
    assert line["state"] == "unknown"


@pytest.mark.parametrize("say", UNCERTAIN, ids=lambda say: f"{say.status}-{say.body[:12]!r}")
async def test_with_keys_an_uncertain_answer_is_asked_for_again_under_the_same_key(up: Polling, say: Say) -> None:
    up.takes_on(lambda request: say if len(up.submits) < 4 else taken_on(KEYED))
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED)
    await up.pass_time(60)
    assert (row(up, id_)["state"], row(up, id_)["error"]) == ("watching", None)
    assert len(up.submits) == 4
    assert len(keys(up)) == 1
    assert len({request.body for request in up.submits}) == 1


async def test_a_key_that_is_never_answered_for_good_is_left_to_a_person_at_last(up: Polling) -> None:
    up.takes_on(lambda request: Say(500))
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED)
    for _ in range(RETRY_POLICY.attempts):
        await up.jump(RETRY_POLICY.cap_seconds + 1)
        assert row(up, id_)["state"] == ("submitting" if len(up.submits) < RETRY_POLICY.attempts else "unknown")
    assert row(up, id_)["state"] == "unknown"
    assert len(up.submits) == RETRY_POLICY.attempts


async def test_a_submit_that_is_in_progress_at_the_provider_is_waited_for(up: Polling) -> None:
    up.takes_on(lambda request: error(409, "REQUEST_IN_PROGRESS") if len(up.submits) < 4 else taken_on(KEYED))
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED)
    await up.pass_time(15)
    assert row(up, id_)["state"] == "watching"
    assert len(keys(up)) == 1


async def test_a_key_refused_after_a_lost_answer_does_not_say_that_there_is_no_job(up: Polling) -> None:
    up.takes_on(lambda request: Say(500) if len(up.submits) == 1 else error(401, "UNAUTHORIZED"))
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED)
    await up.pass_time(10)
    assert row(up, id_)["state"] == "unknown"


@pytest.mark.parametrize(("source", "state", "requests"), [(KEYED, "watching", 2), (KEYLESS, "unknown", 1)])
async def test_an_answer_that_is_not_there_in_time_may_have_made_a_job(
    up: Polling, source: str, state: str, requests: int
) -> None:
    never = asyncio.Event()

    async def late(request: ReceivedRequest) -> Say:
        if len(up.submits) == 1:
            await never.wait()
        return taken_on(source)

    up.takes_on(late)
    await loop_of(up, source, timeouts=Timeouts(read=0.05))
    id_ = up.submit(source=source)
    await up.pass_time(10)
    assert (row(up, id_)["state"], len(up.submits)) == (state, requests)
    never.set()


# crashes and stops


@pytest.mark.parametrize(("source", "state", "requests"), [(KEYED, "watching", 1), (KEYLESS, "unknown", 0)])
async def test_a_request_that_a_crash_left_open_is_asked_again_only_under_a_key(
    up: Polling, source: str, state: str, requests: int
) -> None:
    up.takes_on(lambda request: taken_on(source))
    loop = await loop_of(up, source)
    await up.until_idle()
    await loop.stop()
    up.pollers.remove(loop)
    id_ = up.submit(source=source)
    with up.writing() as database:  # the process that ends in the middle of its request
        [held] = database.transact(job_leases.claim, source, 1, NOW, Lease("other", NOW + LEASE_SECONDS))
        database.transact(job_leases.begin_submit, held)
    await loop_of(up, source)
    await up.pass_time(LEASE_SECONDS - 1)
    assert up.submits == []
    await up.pass_time(3)
    assert (row(up, id_)["state"], len(up.submits)) == (state, requests)


@BOTH
async def test_a_crash_before_the_request_began_costs_nothing(up: Polling, source: str) -> None:
    up.takes_on(lambda request: taken_on(source))
    loop = await loop_of(up, source)
    await up.until_idle()
    await loop.stop()
    up.pollers.remove(loop)
    id_ = up.submit(source=source)
    with up.writing() as database:
        database.transact(job_leases.claim, source, 1, NOW, Lease("other", NOW + LEASE_SECONDS))
    await loop_of(up, source)
    await up.pass_time(LEASE_SECONDS + 2)
    assert (row(up, id_)["state"], len(up.submits)) == ("watching", 1)


@BOTH
async def test_a_stop_waits_for_the_submit_that_is_on_its_way_and_gives_back_the_others(
    up: Polling, source: str
) -> None:
    go = asyncio.Event()

    async def slowly(request: ReceivedRequest) -> Say:
        await go.wait()
        return taken_on(source)

    up.takes_on(slowly)
    loop = await loop_of(up, source, rate=1.5)
    first, second = up.submit("one", source=source), up.submit("two", source=source)
    loop.wake()
    await up.until(lambda: up.submits)
    stopping = asyncio.create_task(loop.stop())
    await asyncio.sleep(0)
    go.set()
    await stopping
    up.pollers.remove(loop)
    assert row(up, first)["state"] == "watching"
    assert (row(up, second)["state"], row(up, second)["lease_until"]) == ("submitting", None)
    assert len(up.submits) == 1


@BOTH
async def test_an_answer_is_written_down_again_until_the_store_is_back(
    up: Polling, lines: Lines, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    lock = AsyncExitStack()

    def behave(request: ReceivedRequest) -> Say:
        lock.enter_context(WriteLock(up.store))
        return taken_on(source)

    up.takes_on(behave)
    await loop_of(up, source)
    id_ = up.submit(source=source)
    up.clock.set(NOW + 1)
    await up.until(lambda: lines.of("submit.not_stored"))
    assert [line["job"] for line in lines.of("submit.not_stored")] == ["a"]
    await lock.aclose()
    await up.pass_time(3)
    assert (row(up, id_)["state"], row(up, id_)["job_id"]) == ("watching", "a")
    assert len(up.submits) == 1


async def test_two_processes_submit_a_job_once(up: Polling) -> None:
    up.takes_on(lambda request: taken_on(KEYLESS, f"job-{len(up.submits)}"))
    await loop_of(up, KEYLESS)
    await loop_of(up, KEYLESS)
    ids = [up.submit(f"text {number}", source=KEYLESS) for number in range(20)]
    await up.pass_time(2)
    assert {row(up, id_)["state"] for id_ in ids} == {"watching"}
    assert len(up.submits) == len({row(up, id_)["job_id"] for id_ in ids}) == 20


async def test_a_job_cancelled_before_its_turn_is_never_submitted(up: Polling) -> None:
    up.takes_on(lambda request: taken_on(KEYLESS))
    await loop_of(up, KEYLESS)
    await up.until_idle()
    id_ = up.submit(source=KEYLESS)
    with up.writing() as database:
        assert database.transact(jobs.cancel, id_, NOW)
    await up.jump(5)
    assert (row(up, id_)["state"], up.submits) == ("cancelled", [])


async def test_what_was_given_with_the_submit_comes_back_with_the_end(up: Polling) -> None:
    """miragic takes no metadata: it is kept here."""
    up.takes_on(lambda request: taken_on(KEYLESS, status="COMPLETED", audioUrl="https://x.example/a"))
    loop = await loop_of(up, KEYLESS)
    id_ = up.submit(source=KEYLESS)
    [job] = query(up.store, "SELECT request FROM jobs")
    execute(up.store, update(schema.jobs).values(request=job["request"] | {"metadata": {"page": 7}}))
    loop.wake()
    await up.jump(1)
    assert row(up, id_)["state"] == "completed"
    assert up.event()["payload"]["metadata"] == {"page": 7}
