"""The safety net: a webhook that is lost is made up for by polling, and an operator can see it.

Real: the simulated provider, the receiver, its store, its metrics. Times are short where they are waited for, and long
where nothing must happen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from receiver import Settings
from receiver.app import Receiver
from receiver.assembly.receiver import build_receiver
from receiver.providers.types import Speech
from receiver.simulator import Job, Simulator
from receiver.simulator.serving import LoopServer
from receiver.store.schema import jobs, metadata, signing_keys, source_state
from tests.integration.api_support import HOST
from tests.integration.engine_support import Signal, ended
from tests.integration.intake_support import Lines, configured
from tests.recording import recorder
from tests.stores import query

pytestmark = pytest.mark.anyio

SOON, NEVER = 0.3, 3600.0
SPEECH = Speech(text="Hello.", voice="alloy")


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None) as sim:
        yield sim


def settings(folder: Path, sim: Simulator, first_seconds: float) -> Settings:
    source = {
        "provider": "aitts",
        "base_url": sim.base_urls["aitts"],
        "api_key": sim.api_key,
        "signing_secrets": [sim.signing_secret],
        "allow_private_addresses": True,
        "poll": {"requests_per_second": 1000, "first_seconds": first_seconds},
    }
    return configured(folder, sources={"aitts": source, "quiet": source | {"path": "/webhooks/quiet"}})


class Net:
    """A started receiver whose webhooks the provider knows, and what it says of itself."""

    def __init__(self, receiver: Receiver, sim: Simulator, signal: Signal, client: httpx.AsyncClient) -> None:
        self.receiver = receiver
        self.sim = sim
        self.signal = signal
        self._client = client

    async def submitted(self) -> Job:
        """A job that we submitted, which runs at the provider."""
        row, _ = await self.receiver.jobs.submit(recorder(), "aitts", SPEECH)
        row = await self.receiver.jobs.wait_until_submitted(row["id"], 10)
        assert row["state"] == "watching", row["error"]
        return self.sim.jobs[row["job_id"]]

    async def ended(self) -> dict[str, Any]:
        """The one job's row, once it has ended."""
        row = await self.receiver.jobs.wait_until_ended(self.rows("jobs")[0]["id"], 10)
        assert row["ended_at"] is not None
        return row

    def rows(self, table: str) -> list[dict[str, Any]]:
        return query(self.receiver.database, metadata.tables[table])

    async def metrics(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of one metric as `/metrics` shows them, by the values of their labels in order of name."""
        answer = await self._client.get("/metrics")
        assert answer.status_code == 200
        samples = [one for family in text_string_to_metric_families(answer.text) for one in family.samples]
        return {tuple(one.labels.values()): one.value for one in samples if one.name == name}


@asynccontextmanager
async def net(folder: Path, sim: Simulator, signal: Signal, first_seconds: float) -> AsyncIterator[Net]:
    receiver = build_receiver(settings(folder, sim, first_seconds))
    private = httpx.ASGITransport(app=receiver.private)
    async with (
        receiver.public.router.lifespan_context(receiver.public),
        LoopServer(receiver.public, "127.0.0.1", 0) as server,
        httpx.AsyncClient(transport=private, base_url=HOST) as client,
    ):
        sim.webhook_url = f"{server.url}/webhooks/aitts"
        yield Net(receiver, sim, signal, client)


async def test_a_lost_webhook_is_made_up_for_by_a_poll_after_the_set_time(
    tmp_path: Path, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    sim.force("lost_webhook")
    async with net(tmp_path, sim, signal, SOON) as up:
        job = sim.finish((await up.submitted()).id)
        row = await up.ended()
        [event] = up.rows("events")
        assert (row["state"], row["polls"], row["event_id"]) == ("completed", 1, event["id"])
        assert (event["type"], event["origin"], event["job_id"]) == ("job.completed", "poll", job.id)
        assert row["ended_at"] - row["submitted_at"] >= SOON
        assert await up.metrics("tts_receiver_events_recovered_total") == {("aitts",): 1}
        assert sim.deliveries == []

        # It was late, and not lost.
        assert await sim.deliver(job.id) in (200, 202)
        [event] = up.rows("events")
        assert (event["origin"], event["duplicates"], event["conflict"]) == ("poll", 1, None)
        assert await up.metrics("tts_receiver_events_total") == {("poll", "aitts", "job.completed"): 1}
        assert await up.metrics("tts_receiver_events_recovered_total") == {("aitts",): 1}
        await ended(lines, signal, 1)
    assert [(run["state"], run["attempt"]) for run in up.rows("runs")] == [("succeeded", 1)]


async def test_a_webhook_in_time_ends_the_job_at_once_and_nothing_is_polled(
    tmp_path: Path, sim: Simulator, signal: Signal
) -> None:
    async with net(tmp_path, sim, signal, NEVER) as up:
        job = await up.submitted()
        sim.finish(job.id)
        row = await up.ended()
        [event] = up.rows("events")
        assert (row["state"], row["polls"], row["event_id"]) == ("completed", 0, event["id"])
        assert row["ended_at"] == event["received_at"]
        assert (event["origin"], event["duplicates"]) == ("webhook", 0)
        assert await up.metrics("tts_receiver_events_recovered_total") == {}
    assert sim.requests["aitts.status"] == 0


async def test_open_jobs_and_silent_sources_can_be_seen(tmp_path: Path, sim: Simulator, signal: Signal) -> None:
    async with net(tmp_path, sim, signal, NEVER) as up:
        assert await up.metrics("tts_receiver_jobs_open") == {}
        assert await up.metrics("tts_receiver_source_silent_seconds") == {("aitts",): 0, ("quiet",): 0}
        job = await up.submitted()
        await up.receiver.database.write(long_ago, 600.0)
        assert await up.metrics("tts_receiver_jobs_open") == {("aitts", "watching"): 1}
        silent = await up.metrics("tts_receiver_source_silent_seconds")
        assert silent["aitts",] == pytest.approx(600, abs=5)
        assert silent["quiet",] == 0

        other = await up.submitted()  # its answer is a word of the source
        assert await up.metrics("tts_receiver_jobs_open") == {("aitts", "watching"): 2}
        assert (await up.metrics("tts_receiver_source_silent_seconds"))["aitts",] < 5

        await up.receiver.database.write(long_ago, 600.0)
        sim.finish(job.id)  # so is a delivery
        await signal.until(lambda: len(up.rows("events")) == 1)
        assert await up.metrics("tts_receiver_jobs_open") == {("aitts", "watching"): 1}
        assert (await up.metrics("tts_receiver_source_silent_seconds"))["aitts",] < 5

        await up.receiver.database.write(long_ago, 600.0)
        sim.fail(other.id)
        await signal.until(lambda: len(up.rows("events")) == 2)
        assert await up.metrics("tts_receiver_jobs_open") == {}
        assert await up.metrics("tts_receiver_source_silent_seconds") == {("aitts",): 0, ("quiet",): 0}


async def test_a_job_of_which_nobody_knows_is_counted_until_a_person_has_closed_it(
    tmp_path: Path, sim: Simulator, signal: Signal
) -> None:
    async with net(tmp_path, sim, signal, NEVER) as up:
        await up.submitted()
        await up.receiver.database.write(unknown)
        assert await up.metrics("tts_receiver_jobs_open") == {("aitts", "unknown"): 1}
        assert (await up.metrics("tts_receiver_source_silent_seconds"))["aitts",] == 0


def long_ago(connection: Any, seconds: float) -> None:
    """All that has happened was so much earlier."""
    for column in (jobs.c.created_at, source_state.c.heard_at, signing_keys.c.last_used_at):
        connection.execute(update(column.table).values({column: column - seconds}))


def unknown(connection: Any) -> None:
    connection.execute(update(jobs).values(state="unknown", job_id=None))
