"""What a provider's answer means for a job, and for its whole source."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from receiver.engine.throttle import LIMIT_PAUSE_SECONDS, REFUSED_PAUSE_SECONDS
from receiver.outbound import api
from receiver.outbound.client import Timeouts
from receiver.store import throttle_state
from tests.integration.engine_support import NOW
from tests.integration.intake_support import Lines
from tests.integration.outbound_support import Say
from tests.unit.engine.jobs.support import COMPLETED, KEY, Polling, status

pytestmark = pytest.mark.anyio


# what providers say instead


async def test_a_refused_key_pauses_the_source_and_says_why(up: Polling, lines: Lines) -> None:
    up.watch("a", "b")
    up.answers(lambda job: Say(401))
    await up.poller(rate=1.0)
    await up.pass_time(REFUSED_PAUSE_SECONDS - 1)
    assert up.times == [0]
    assert up.pause() == (REFUSED_PAUSE_SECONDS, "provider_unauthorized")
    first, second = sorted((up.job("a"), up.job("b")), key=lambda row: -row["polls"])
    assert "the API key is wrong" in first["error"]
    assert (second["polls"], second["error"], second["state"]) == (0, None, "watching")
    [line] = lines.of("poll.failed")
    assert (line["reason"], line["source"], line["level"]) == ("provider_unauthorized", "miragic", "warning")
    assert KEY not in lines.text
    up.answers(lambda job: COMPLETED)  # a person has acted
    await up.pass_time(10)
    assert up.states() == {"completed": 2}


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "30"}, 30.0), ({}, LIMIT_PAUSE_SECONDS), ({"Retry-After": "200"}, 200.0)]
)
async def test_too_many_requests_pause_the_source_as_long_as_it_says_for_every_process(
    up: Polling, headers: dict[str, str], seconds: float
) -> None:
    ids = ("a", "b", "c", "d")
    up.watch(*ids)
    up.answers(lambda job: Say(429, headers))
    await up.poller(rate=1.0)
    await up.until_idle()
    await up.poller()
    await up.until_idle()
    await up.pass_time(seconds - 0.5)
    assert up.times == [0]
    assert up.pause() == (seconds, "provider_rate_limited")
    assert sorted(up.job(job)["polls"] for job in ids) == [0, 0, 0, 1]
    up.answers(lambda job: COMPLETED)
    await up.pass_time(10)
    assert up.states() == {"completed": 4}
    assert min(up.times[1:]) >= seconds


async def test_a_maintenance_that_says_how_long_pauses_the_source(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: Say(503, {"Retry-After": "120"}) if len(up.polls[job]) == 1 else COMPLETED)
    await up.poller()
    await up.pass_time(119)
    assert up.times == [0]
    assert up.pause() == (120, "provider_unavailable")
    await up.pass_time(2)
    assert up.states() == {"completed": 1}


async def test_a_pause_is_obeyed_by_a_process_that_starts_into_it(up: Polling) -> None:
    up.watch("a")
    with up.writing() as database:
        database.transact(throttle_state.pause, "miragic", NOW + 45, "provider_rate_limited", NOW)
    up.answers(lambda job: COMPLETED)
    await up.poller()
    await up.pass_time(44.5)
    assert up.times == []
    await up.pass_time(1)
    assert up.times == [pytest.approx(45, abs=0.01)]


@pytest.mark.parametrize(
    "say",
    [
        Say(500),
        Say(502, {}, b"<html>Bad Gateway</html>"),
        Say(503),
        Say(200, {}, b'{"data": {"stat'),
        Say(200, {}, b""),
        Say(200, {}, b"\xff\x00\xfe"),
        Say(200, {}, b"[]"),
        Say(200, {}, b'{"data": {}}'),
        Say(200, {}, b"x" * 50, cut=10),
        Say(302, {"Location": "http://127.0.0.1:1/"}),
        Say(400),
        Say(402),
        Say(418),
    ],
    ids=lambda say: f"{say.status}-{say.body[:12]!r}",
)
async def test_an_answer_that_helps_nobody_is_asked_for_again_ever_later(up: Polling, lines: Lines, say: Say) -> None:
    up.watch("a")
    up.answers(lambda job: say if len(up.polls[job]) <= 4 else COMPLETED)
    await up.poller()
    await up.pass_time(13)
    gaps = [later - earlier for earlier, later in zip(up.times, up.times[1:], strict=False)]
    assert len(up.times) == 4
    assert all(gap >= 2 - 1e-3 for gap in gaps)
    assert gaps[-1] > gaps[0]
    row = up.job()
    assert (row["state"], row["polls"], row["misses"]) == ("watching", 4, 0)
    assert row["error"]
    assert (up.events(), up.pause()) == ([], None)
    assert len(lines.of("poll.failed")) == 4
    await up.pass_time(20)
    assert (up.job()["state"], up.job()["error"]) == ("completed", None)


async def test_a_word_that_nobody_knows_is_a_job_still_running(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: status("WarmingUp"))
    await up.poller()
    await up.jump(5)
    assert (up.job()["state"], up.job()["polls"], up.job()["error"]) == ("watching", 2, None)


async def test_an_answer_that_is_not_begun_in_time_is_tried_again(up: Polling) -> None:
    up.watch("a")
    never = asyncio.Event()

    async def late(job: str) -> Say:
        if len(up.polls[job]) == 1:
            await never.wait()
        return COMPLETED

    up.answers(late)
    await up.poller(timeouts=Timeouts(read=0.05))
    await up.until_idle()
    assert (up.job()["state"], up.job()["polls"]) == ("watching", 1)
    assert "in time" in up.job()["error"]
    await up.jump(5)
    assert up.states() == {"completed": 1}
    never.set()


async def test_an_answer_that_drips_in_for_ever_is_given_up(up: Polling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_SECONDS", 0.05)
    up.watch("a")
    never = asyncio.Event()
    up.answers(lambda job: Say(200, {}, b" " * 100, cut=1, hang=never))
    await up.poller()
    await up.until_idle()
    assert (up.job()["state"], up.job()["polls"]) == ("watching", 1)
    assert "in time" in up.job()["error"]
    never.set()


async def test_an_answer_that_is_too_long_is_no_status(up: Polling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_BYTES", 1000)
    up.watch("a")
    up.answers(lambda job: status("COMPLETED", padding="x" * 1000))
    await up.poller()
    await up.until_idle()
    assert up.job()["state"] == "watching"
    assert "too long" in up.job()["error"]


@pytest.mark.parametrize(
    ("headers", "pack"),
    [
        ({"Content-Encoding": "gzip"}, gzip.compress),
        ({"Content-Encoding": "X-GZIP"}, gzip.compress),
        ({}, gzip.compress),
        ({"Content-Encoding": "deflate"}, zlib.compress),
        ({"Content-Encoding": "deflate"}, lambda body: zlib.compress(body, wbits=-15)),
        ({"Content-Encoding": "gzip"}, bytes),
        ({"Content-Encoding": "deflate"}, bytes),
        ({"Content-Encoding": "aws-chunked"}, bytes),
    ],
)
async def test_an_answer_that_is_compressed_unasked_is_read(
    up: Polling, headers: dict[str, str], pack: Callable[[bytes], bytes]
) -> None:
    up.watch("a")
    up.answers(lambda job: Say(200, headers, pack(COMPLETED.body)))
    await up.poller()
    await up.until_idle()
    assert up.states() == {"completed": 1}
    assert up.events()[0]["body"] == COMPLETED.body


async def test_an_answer_is_not_unpacked_beyond_what_an_answer_may_have(up: Polling) -> None:
    up.watch("a")
    bomb = gzip.compress(b" " * 20 * api.MAX_BYTES)
    up.answers(lambda job: Say(200, {"Content-Encoding": "gzip"}, bomb))
    await up.poller()
    tracemalloc.start()
    try:
        await up.until_idle()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert up.job()["state"] == "watching"
    assert "too long" in up.job()["error"]
    assert peak < 8 * api.MAX_BYTES


@pytest.mark.parametrize("status_code", [200, 401])
async def test_a_compressed_answer_that_is_cut_short_means_what_its_status_does(up: Polling, status_code: int) -> None:
    up.watch("a")
    up.answers(lambda job: Say(status_code, {"Content-Encoding": "gzip"}, gzip.compress(COMPLETED.body)[:-20]))
    await up.poller()
    await up.until_idle()
    assert up.job()["state"] == "watching"
    assert ("unreadable" if status_code == 200 else "API key is wrong") in up.job()["error"]


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'\xef\xbb\xbf{"data": {"status": "COMPLETED", "audioUrl": "https://a.example/1"}}', None),
        (b'{"data": {"status": "COMPLETED", "score": NaN, "peak": -Infinity, "gain": 1e999}}', None),
        (b'{"data": {"status": "FAILED", "errorMessage": "half \\ud83d of one"}}', "half \ufffd of one"),
        (b'{"data": {"status": "FAILED", "errorMessage": "cut \xf0\x9f"}}', "cut \ufffd"),
    ],
)
async def test_an_answer_with_a_fault_that_does_not_change_its_meaning_ends_the_job(
    up: Polling, body: bytes, read: str | None
) -> None:
    up.watch("a")
    up.answers(lambda job: Say(200, {}, body))
    await up.poller()
    await up.until_idle()
    [event] = up.events()
    assert up.states() == {"completed" if read is None else "failed": 1}
    assert read is None or event["payload"]["error"]["message"] == read


async def test_a_provider_that_does_not_listen_is_asked_again_later(up: Polling) -> None:
    up.watch("a")
    await up.poller(base_url="http://127.0.0.1:1")
    await up.until_idle()
    row = up.job()
    assert (row["state"], row["polls"]) == ("watching", 1)
    assert "Cannot connect" in row["error"]
    assert row["due_at"] >= NOW + 2


async def test_an_address_that_is_not_allowed_is_never_connected_to_and_pauses_the_source(up: Polling) -> None:
    up.watch("a")
    up.answers(lambda job: COMPLETED)
    await up.poller(private=False)
    await up.until_idle()
    assert up.server.requests == []
    assert up.job()["state"] == "watching"
    pause = up.pause()
    assert pause is not None
    assert pause[0] == REFUSED_PAUSE_SECONDS
