"""Polling from end to end: the four simulated providers, the real receiver, its store, and the audio on disk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handlers.save_audio import save_audio
from receiver import Context, JobFailed, Settings, handler
from receiver.app import Receiver
from receiver.assembly.receiver import build_receiver
from receiver.simulator import Job, Simulator
from receiver.simulator.serving import LoopServer
from receiver.store import jobs
from receiver.store.migrate import migrate
from tests.integration.engine_support import Signal, ended, registry
from tests.integration.intake_support import Lines, configured
from tests.stores import open_store, query

pytestmark = pytest.mark.anyio

PROVIDERS = ("aitts", "audixa", "finevoice", "miragic")


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None, audixa_poll_seconds=None) as sim:
        yield sim
    assert sim.leaks == []


@pytest.fixture
def settings(tmp_path: Path, sim: Simulator) -> Settings:
    """A source for each provider, named as it is, and as quick as it may be."""

    def source(provider: str) -> dict[str, Any]:
        secrets = {"signing_secrets": [sim.signing_secret]} if provider == "aitts" else {}
        return {
            "provider": provider,
            "base_url": sim.base_urls[provider],
            "api_key": sim.api_keys[provider],
            "allow_private_addresses": True,
            "poll": {"requests_per_second": 1000},
            **secrets,
        }

    settings = configured(tmp_path, sources={provider: source(provider) for provider in PROVIDERS})
    (tmp_path / "data").mkdir()
    database = open_store(path(settings))
    migrate(database)
    database.close()
    return settings


@handler(on=JobFailed)
def notes(event: JobFailed, ctx: Context[Any]) -> str:
    return f"{event.code}: {event.message}"


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Receiver, str]]:
    """A receiver on a real port, and its address."""
    receiver = build_receiver(settings, registry(save_audio, notes))
    async with (
        receiver.public.router.lifespan_context(receiver.public),
        LoopServer(receiver.public, "127.0.0.1", 0) as server,
    ):
        yield receiver, server.url


def path(settings: Settings) -> Path:
    return settings.base / "data" / "receiver.db"


def rows(settings: Settings, table: str) -> list[dict[str, Any]]:
    return query(path(settings), f"SELECT * FROM {table}")


def watch(settings: Settings, *watched: Job) -> None:
    """As `jobs watch` does, from another process."""
    database = open_store(path(settings))
    now = time.time()
    for job in watched:
        assert database.transact(jobs.watch, f"job_{job.id}", job.provider, job.id, now, now, now + 3600)[1]
    database.close()


def states(settings: Settings) -> list[str]:
    return [row["state"] for row in rows(settings, "jobs")]


def sha256_at_the_origin(job: Job) -> str:
    return hashlib.sha256(b"".join(job.audio.chunks(0, job.audio.size))).hexdigest()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_completed_job_is_polled_and_its_audio_is_on_disk(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines, provider: str
) -> None:
    job = sim.finish(await sim.submit("Hello", provider=provider))
    watch(settings, job)
    async with serving(settings):
        await ended(lines, signal, 1)
    [event], [run], [row], [artifact] = (rows(settings, name) for name in ("events", "runs", "jobs", "artifacts"))
    assert (event["type"], event["origin"], event["source"], event["job_id"]) == (
        "job.completed",
        "poll",
        provider,
        job.id,
    )
    assert (row["state"], row["polls"], row["event_id"]) == ("completed", 1, event["id"])
    assert (run["handler"], run["state"]) == ("save_audio", "succeeded")
    audio = Path(artifact["address"]).read_bytes()
    assert Path(artifact["address"]).is_relative_to(settings.base / "data" / "audio")
    assert hashlib.sha256(audio).hexdigest() == artifact["sha256"] == sha256_at_the_origin(job)
    assert sim.requests[f"{provider}.status"] == 1


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_failed_job_is_polled_and_its_handlers_are_told_why(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines, provider: str
) -> None:
    job = sim.fail(await sim.submit("Hello", provider=provider))
    watch(settings, job)
    async with serving(settings):
        await ended(lines, signal, 1)
    [event], [run], [row] = (rows(settings, name) for name in ("events", "runs", "jobs"))
    assert (event["type"], event["origin"], row["state"]) == ("job.failed", "poll", "failed")
    assert (run["handler"], run["state"]) == ("notes", "succeeded")
    assert "The audio could not be generated." in run["result"]
    assert rows(settings, "artifacts") == []


async def test_the_four_providers_are_polled_side_by_side_though_one_is_down(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    done = [sim.finish(await sim.submit(f"Hello {provider}", provider=provider)) for provider in PROVIDERS]
    sim.force("slow_status", 1, value=600, at="finevoice.status")
    watch(settings, *done)
    async with serving(settings) as (receiver, _):
        await ended(lines, signal, 3)
        assert all(loop.alive for loop in receiver.loops.values())
    assert {row["source"]: row["state"] for row in rows(settings, "jobs")} == {
        "aitts": "completed",
        "audixa": "completed",
        "finevoice": "watching",
        "miragic": "completed",
    }


async def test_after_its_webhook_a_job_is_not_polled(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    async with serving(settings) as (_, url):
        sim.webhook_url = f"{url}/webhooks/aitts"
        job = sim.finish(await sim.submit("Hello"))
        await ended(lines, signal, 1)
        watch(settings, job)
        assert states(settings) == ["completed"]
    [event], [row] = rows(settings, "events"), rows(settings, "jobs")
    assert (event["origin"], event["duplicates"]) == ("webhook", 0)
    assert row["state"] == "completed"
    assert (row["event_id"], row["polls"]) == (event["id"], 0)
    assert sim.requests["aitts.status"] == 0


@pytest.mark.parametrize("end", ["completed", "failed"])
async def test_a_webhook_that_comes_after_the_poll_is_a_counted_duplicate_and_no_conflict(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines, end: str
) -> None:
    job = sim.jobs[await sim.submit("Hello")]
    if end == "completed":
        sim.jobs.complete(job.id, time.time())
    else:
        sim.jobs.fail(job.id, time.time())
    watch(settings, job)
    async with serving(settings) as (_, url):
        await ended(lines, signal, 1)
        assert await sim.deliver(job.id, url=f"{url}/webhooks/aitts") in (200, 202)
    [event], [run] = rows(settings, "events"), rows(settings, "runs")
    assert (event["origin"], event["duplicates"], event["conflict"]) == ("poll", 1, None)
    assert (event["type"], run["attempt"]) == (f"job.{end}", 1)


async def test_two_receivers_on_one_store_make_one_event_a_job(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    done = [sim.finish(await sim.submit(f"Hello {n}", provider=PROVIDERS[n % 4])) for n in range(12)]
    watch(settings, *done)
    async with serving(settings), serving(settings):
        await ended(lines, signal, 12)
    assert states(settings) == ["completed"] * 12
    events = rows(settings, "events")
    assert sorted(event["job_id"] for event in events) == sorted(job.id for job in done)
    assert {(event["duplicates"], event["conflict"]) for event in events} == {(0, None)}
    assert [sim.requests[f"{provider}.status"] for provider in PROVIDERS] == [3, 3, 3, 3]
    assert {row["attempt"] for row in rows(settings, "runs")} == {1}


async def test_a_poll_takes_a_stale_webhooks_event_out_of_quarantine(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    job = sim.jobs[await sim.submit("Hello.", provider="aitts")]
    async with serving(settings) as (_, url):
        sim.finish(job.id)
        stale = int(time.time()) - 3600
        assert await sim.deliver(job.id, url=f"{url}/webhooks/aitts", t=stale) == 202
        (event,) = rows(settings, "events")
        assert event["status"] == "quarantined"
        assert rows(settings, "runs") == []
        watch(settings, job)
        await ended(lines, signal, 1)  # a line is written before its row: nothing may come after it to look again
    assert [run["state"] for run in rows(settings, "runs")] == ["succeeded"]
    (event,) = rows(settings, "events")
    assert (event["status"], event["origin"], event["duplicates"]) == ("accepted", "webhook", 1)
    (row,) = rows(settings, "jobs")
    assert (row["state"], row["event_id"]) == ("completed", event["id"])


async def test_a_transcript_has_no_audio_and_saving_it_succeeds_with_these_words(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    job = sim.finish(sim.create_task("speech_to_text"))
    watch(settings, job)
    async with serving(settings):
        await ended(lines, signal, 1)
    [run] = rows(settings, "runs")
    assert (run["state"], run["result"]) == ("succeeded", {"files": [], "detail": "no audio"})
    assert (rows(settings, "artifacts"), sim.requests["storage"]) == ([], 0)
    assert lines.of("audio.not_fetched") == []


async def test_audio_at_the_apis_own_origin_that_wants_the_key_is_asked_again_with_it(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    sim.settings = replace(sim.settings, miragic_audio="key")
    job = sim.finish(await sim.submit("Hello", provider="miragic"))
    watch(settings, job)
    async with serving(settings):
        await ended(lines, signal, 1)
    [artifact] = rows(settings, "artifacts")
    assert artifact["sha256"] == sha256_at_the_origin(job)
    assert (sim.requests["miragic.audio"], sim.requests["storage"]) == (2, 0)


@pytest.mark.parametrize("other", ["metadata.apiResponse.audio_link", "audio_link", "download_signed_url"])
async def test_where_one_documented_address_has_no_audio_the_next_is_tried(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines, other: str
) -> None:
    sim.settings = replace(sim.settings, miragic_audio="open", miragic_more_paths=(other,))
    sim.force("audio_gone", 100, at="miragic.audio")
    job = sim.finish(await sim.submit("Hello", provider="miragic"))
    watch(settings, job)
    async with serving(settings):
        await ended(lines, signal, 1)
    [artifact] = rows(settings, "artifacts")
    assert artifact["sha256"] == sha256_at_the_origin(job)
    assert (sim.requests["miragic.audio"], sim.requests["storage"]) == (1, 1)
    assert [line["reason"] for line in lines.of("audio.next_address")] == ["audio_gone"]
