"""Many jobs by one call, where the provider has a history; and what it says of its rate limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest

from receiver.engine.jobs.claiming import MIN_JOBS_FOR_HISTORY
from receiver.engine.jobs.loop import MAX_HISTORY_PAGES
from receiver.engine.throttle import REFUSED_PAUSE_SECONDS
from receiver.providers import PROVIDERS
from receiver.providers.types import HISTORY_PAGE
from receiver.store.rate_buckets import LIMIT_USED_UP
from tests.integration.engine_support import NOW
from tests.integration.intake_support import Lines
from tests.integration.outbound_support import ReceivedRequest, Say
from tests.stores import query
from tests.unit.engine.jobs.support import PENDING, Polling, Watched

pytestmark = pytest.mark.anyio


class Audixa:
    """audixa v3: its history is the newest first, and each job can be asked about."""

    def __init__(self, up: Polling, **words: str) -> None:
        self.up = up
        self.words = words
        self.pages: list[float] = []
        self.polled: list[str] = []
        self.refusal: Say | None = None
        up.server.behave = self.behave

    def behave(self, request: ReceivedRequest) -> Say:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        if request.path.startswith("/v3/history"):
            self.pages.append(self.up.clock.now() - NOW)
            self.up.signal.notify()
            if self.refusal is not None:
                return self.refusal
            offset = int(query["offset"])
            newest = list(reversed(self.words))[offset : offset + int(query["limit"])]
            return said({"history": [self.row(job) for job in newest]})
        job = query["generation_id"]
        self.polled.append(job)
        self.up.polls[job].append(self.up.clock.now())
        return said(self.row(job)) if job in self.words else Say(404, {}, b'{"detail": "No such job."}')

    def row(self, job: str) -> dict[str, str]:
        return {"generation_id": job, "status": self.words[job], "audio_url": f"https://x.example/{job}.mp3"}


def said(document: Mapping[str, object], **headers: str) -> Say:
    return Say(200, {"Content-Type": "application/json", **headers}, json.dumps(document).encode())


def names(count: int, start: int = 0) -> list[str]:
    return [f"job-{number:03}" for number in range(start, start + count)]


async def audixa(up: Polling, version: str = "v3", rate: float = 1.0) -> Watched:
    return await up.poller(source="audixa", provider=PROVIDERS["audixa"], version=version, rate=rate)


def states(up: Polling, ids: list[str]) -> set[str]:
    return {up.job(job, "audixa")["state"] for job in ids}


async def test_many_jobs_are_settled_by_one_call(up: Polling) -> None:
    ids = names(HISTORY_PAGE)
    up.watch(*ids, source="audixa")
    service = Audixa(up, **dict.fromkeys(ids, "COMPLETED"))
    await audixa(up)
    await up.until_idle()
    assert states(up, ids) == {"completed"}
    assert (service.pages, service.polled) == ([0], [])
    assert len(up.events()) == HISTORY_PAGE
    event = up.events()[0]
    assert (event["origin"], event["payload"]["audio_url"]) == ("poll", f"https://x.example/{event['job_id']}.mp3")
    assert json.loads(event["body"]) == service.row(event["job_id"])
    assert [up.job(job, "audixa")["polls"] for job in ids] == [1] * HISTORY_PAGE


async def test_those_that_run_on_are_looked_up_again_together(up: Polling) -> None:
    ids = names(10)
    up.watch(*ids, source="audixa")
    service = Audixa(up, **dict.fromkeys(ids, "GENERATING"))
    await audixa(up)
    await up.until_idle()
    assert states(up, ids) == {"watching"}
    service.words = dict.fromkeys(ids, "FAILED")
    await up.pass_time(5)
    assert states(up, ids) == {"failed"}
    assert len(service.pages) + len(service.polled) <= 6


async def test_few_jobs_are_asked_about_one_by_one(up: Polling) -> None:
    ids = names(MIN_JOBS_FOR_HISTORY - 1)
    up.watch(*ids, source="audixa")
    service = Audixa(up, **dict.fromkeys(ids, "COMPLETED"))
    await audixa(up)
    await up.pass_time(MIN_JOBS_FOR_HISTORY * 2)
    assert states(up, ids) == {"completed"}
    assert (service.pages, sorted(service.polled)) == ([], ids)


async def test_a_version_without_history_is_asked_about_each_job(up: Polling) -> None:
    ids = names(8)
    up.watch(*ids, source="audixa")
    paths = []

    def behave(request: ReceivedRequest) -> Say:
        paths.append(urlsplit(request.path).path)
        return said({"status": "Completed", "url": "https://x.example/a.mp3"})

    up.server.behave = behave
    await audixa(up, "v2", rate=1000)
    await up.pass_time(2)
    assert states(up, ids) == {"completed"}
    assert paths == ["/v2/status"] * 8


async def test_older_jobs_are_looked_for_on_further_pages_each_with_its_turn(up: Polling) -> None:
    watched, newer = names(MIN_JOBS_FOR_HISTORY), names(HISTORY_PAGE + 20, 500)
    up.watch(*watched, source="audixa")
    service = Audixa(up, **dict.fromkeys([*watched, *newer], "COMPLETED"))
    await audixa(up, rate=0.5)
    await up.pass_time(5)
    assert states(up, watched) == {"completed"}
    assert service.pages == [0, pytest.approx(2.04)]
    assert service.polled == []


async def test_jobs_that_are_not_in_the_history_are_asked_about_one_by_one(up: Polling) -> None:
    ids, listed = names(MIN_JOBS_FOR_HISTORY), names(HISTORY_PAGE * (MAX_HISTORY_PAGES + 1), 500)
    up.watch(*ids, source="audixa")
    service = Audixa(up, **dict.fromkeys([*ids, *listed], "COMPLETED"))
    await audixa(up, rate=10)
    await up.pass_time(5)
    assert states(up, ids) == {"completed"}
    assert len(service.pages) == MAX_HISTORY_PAGES
    assert sorted(service.polled) == ids


async def test_of_many_that_are_not_in_the_history_no_more_are_held_than_can_be_asked_about(up: Polling) -> None:
    ids = names(80)
    up.watch(*ids, source="audixa")
    Audixa(up).words = {}  # nothing is in the history, and each job by itself is unknown
    await audixa(up, rate=1.0)
    await up.pass_time(20)
    held = [up.job(job, "audixa")["lease_until"] for job in ids]
    assert sum(lease is not None for lease in held) <= 3
    assert max(up.times) >= 18


@pytest.mark.parametrize("say", [Say(404), Say(500), Say(200, {}, b"<html>")], ids=lambda say: str(say.status))
async def test_a_history_that_does_not_answer_keeps_no_job_from_being_polled(
    up: Polling, lines: Lines, say: Say
) -> None:
    ids = names(MIN_JOBS_FOR_HISTORY)
    up.watch(*ids, source="audixa")
    service = Audixa(up, **dict.fromkeys(ids, "COMPLETED"))
    service.refusal = say
    await audixa(up, rate=10)
    await up.pass_time(3)
    assert states(up, ids) == {"completed"}
    assert len(lines.of("history.failed")) == len(service.pages) == 1


async def test_a_history_that_refuses_our_key_pauses_the_source(up: Polling) -> None:
    ids = names(MIN_JOBS_FOR_HISTORY)
    up.watch(*ids, source="audixa")
    service = Audixa(up, **dict.fromkeys(ids, "COMPLETED"))
    service.refusal = Say(401)
    await audixa(up, rate=10)
    await up.jump(REFUSED_PAUSE_SECONDS - 1)
    assert (len(service.pages), service.polled) == (1, [])
    await up.pass_time(5)
    assert states(up, ids) == {"completed"}


# X-RateLimit-*


def limited(remaining: int, limit: int = 10, reset: float = 90) -> Say:
    headers = {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": int(NOW + reset)}
    return Say(200, {name: str(value) for name, value in headers.items()}, PENDING.body)


@pytest.mark.parametrize(("remaining", "polls"), [(0, 1), (1, 1), (2, 1), (3, 2)])
async def test_polls_leave_a_part_of_the_limit_to_submits_and_audio(up: Polling, remaining: int, polls: int) -> None:
    up.watch("a")
    up.answers(lambda job: limited(remaining))
    await up.poller()
    for _ in range(29):
        await up.jump(3)
    assert len(up.times) == polls
    await up.jump(63)
    assert len(up.times) > polls


async def test_a_limit_that_is_used_up_pauses_everything_until_its_reset_for_every_process(up: Polling) -> None:
    up.watch("a", "b")
    up.answers(lambda job: limited(0))
    await up.poller(rate=1.0)
    await up.until_idle()
    [bucket] = query(up.store, "SELECT * FROM rate_buckets")
    assert (bucket["pause_until"], bucket["reason"]) == (pytest.approx(NOW + 91, abs=1), LIMIT_USED_UP)
    await up.poller(rate=1.0)
    up.submit()
    await up.jump(89)
    assert up.times == [0]
    assert len(up.server.requests) == 1


async def test_a_submit_is_made_while_polls_wait_for_the_limits_reset(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: limited(1))
    await up.poller()
    await up.until_idle()
    up.submit()
    await up.jump(5)
    assert [request.method for request in up.server.requests] == ["GET", "POST"]


async def test_a_reset_that_is_past_or_missing_pauses_nothing(up: Polling) -> None:
    up.watch("a", "b")
    up.answers(
        lambda job: limited(0, reset=-5) if job == "a" else Say(200, {"X-RateLimit-Remaining": "0"}, PENDING.body)
    )
    await up.poller()
    await up.jump(5)
    assert up.pause() is None
    assert len(up.times) == 4
