"""Every request to a source (polls, voices, fresh audio addresses) keeps the same pace and obeys the same pauses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from receiver.engine.audio_refresh import AudioUrlRefresher
from receiver.errors import AudioDelayed
from receiver.model.rate_plan import RequestKind
from receiver.providers.types import ProviderError, VoiceQuery
from receiver.store import rate_buckets, throttle_state
from receiver.store.throttle_state import ThrottleState
from tests.integration.intake_support import Lines, Running, configured, running
from tests.integration.outbound_support import Say, Server, serving
from tests.patience import PATIENCE
from tests.recording import recorder

pytestmark = pytest.mark.anyio

KEY = "an-api-key-0123456789"
INTERVAL = 4.0
COMPLETED = {"success": True, "data": {"id": "job-1", "status": "completed", "voices": [{"id": "alloy"}]}}


@dataclass
class Up:
    """A running receiver, and the provider of its only source."""

    running: Running
    server: Server
    refresh_audio_urls: AudioUrlRefresher

    async def throttle(self) -> ThrottleState:
        return await self.running.receiver.database.read(throttle_state.get, "aitts")

    def answers(self, status: int, **headers: str) -> None:
        named = {"Content-Type": "application/json"} | {name.replace("_", "-"): of for name, of in headers.items()}
        self.server.behave = lambda request: Say(status, named, json.dumps(COMPLETED).encode())


async def voices(up: Up) -> None:
    await up.running.receiver.voices.voices("aitts", VoiceQuery())


async def refresh_audio_urls(up: Up) -> None:
    """The status is asked for once more, on the handlers' loop, for fresh addresses of a job's audio."""
    receiver = up.running.receiver

    async def renew() -> Any:
        return await up.refresh_audio_urls("aitts", "job-1")

    await asyncio.wrap_future(receiver.handlers.submit(renew()))


async def poll(up: Up) -> None:
    jobs = up.running.receiver.jobs
    row, _ = await jobs.watch(recorder(), "aitts", "job-1")
    await jobs._wait_until(row["id"], PATIENCE, lambda row: row["polls"] > 0)


EVERYBODY = pytest.mark.parametrize("ask", [voices, refresh_audio_urls, poll])
Ask = Callable[[Up], Awaitable[None]]


@pytest.fixture
async def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Up]:
    made: list[AudioUrlRefresher] = []

    class Recorded(AudioUrlRefresher):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            made.append(self)

    monkeypatch.setattr("receiver.assembly.engine.AudioUrlRefresher", Recorded)
    async with serving() as server:
        source = {
            "provider": "aitts",
            "base_url": server.url("").rstrip("/"),
            "api_key": KEY,
            "allow_private_addresses": True,
            "poll": {"requests_per_second": 1 / INTERVAL, "first_seconds": 0},
        }
        async with running(configured(tmp_path, sources={"aitts": source}, handlers={})) as receiver:
            yield Up(receiver, server, made[0])


@EVERYBODY
async def test_requests_are_scheduled_equally_far_apart_whoever_asks(up: Up, ask: Ask) -> None:
    up.answers(200)
    before = time.time()
    await ask(up)
    assert (await up.throttle()).next_request_at - before >= 1.02 * INTERVAL


@EVERYBODY
async def test_a_429_pauses_the_source_for_all_whoever_asked(up: Up, ask: Ask) -> None:
    up.answers(429, Retry_After="90")
    before = time.time()
    with suppress(ProviderError, AudioDelayed):
        await ask(up)
    found = await up.throttle()
    assert before + 90 <= found.pause_until <= time.time() + 90
    assert found.why == "provider_rate_limited"
    for other in (voices, refresh_audio_urls):
        with pytest.raises((ProviderError, AudioDelayed)):
            await other(up)
    assert len(up.server.requests) == 1


@EVERYBODY
async def test_a_used_up_rate_limit_pauses_the_source_whoever_asked(up: Up, ask: Ask) -> None:
    up.answers(200, X_RateLimit_Limit="100", X_RateLimit_Remaining="0", X_RateLimit_Reset="60")
    before = time.time()
    await ask(up)
    found = (await up.running.receiver.database.read_list(throttle_state.pauses, before))["aitts"]
    assert before + 60 <= found.pause_until <= time.time() + 61
    assert found.why == "rate_limit_used_up"
    for other in (voices, refresh_audio_urls):
        with pytest.raises((ProviderError, AudioDelayed), match="rate_limit_used_up"):
            await other(up)
    assert len(up.server.requests) == 1


@EVERYBODY
async def test_the_last_requests_of_a_rate_limit_are_kept_from_polls_whoever_asked(up: Up, ask: Ask) -> None:
    up.answers(200, X_RateLimit_Limit="100", X_RateLimit_Remaining="20", X_RateLimit_Reset="60")
    await ask(up)
    plan = await up.running.receiver.database.read_list(rate_buckets.get, "aitts")
    now = time.time()
    assert (plan.free(RequestKind.STATUS, 9, now), plan.free(RequestKind.SUBMIT, 9, now)) == (0, 9)
    assert plan.usable_at(RequestKind.STATUS, now) == now


@EVERYBODY
async def test_a_used_up_bucket_stops_only_its_own_requests(up: Up, ask: Ask) -> None:
    limit = {"X_RateLimit_Limit": "100", "X_RateLimit_Reset": "60"}
    up.answers(200, **limit, X_RateLimit_Remaining="0", X_RateLimit_Bucket="own")
    await ask(up)
    up.answers(200, **limit, X_RateLimit_Remaining="50", X_RateLimit_Bucket="other")
    other = refresh_audio_urls if ask is voices else voices
    await other(up)
    assert len(up.server.requests) == 2
    with pytest.raises((ProviderError, AudioDelayed), match="rate_limit_used_up"):
        await (voices if ask is voices else refresh_audio_urls)(up)


async def test_a_reset_of_an_unknown_form_is_ignored_and_logged_once(up: Up, lines: Lines) -> None:
    up.answers(200, X_RateLimit_Limit="100", X_RateLimit_Remaining="0", X_RateLimit_Reset="soon")
    for _ in range(2):
        await refresh_audio_urls(up)
    assert [line["value"] for line in lines.of("provider.reset_ignored")] == ["soon"]
