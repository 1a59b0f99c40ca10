"""`speech` by itself, on a machine whose clock is set back while it waits for a job."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from receiver.clock import SteadyClock
from receiver.providers.types import Speech
from receiver.simulator import Simulator
from receiver.speech.client import SpeechClient
from tests.integration.intake_support import configured, logged
from tests.patience import PATIENCE
from tests.stores import query

pytestmark = pytest.mark.anyio

HOUR = 3600.0


def client_of(sim: Simulator, folder: Path, clock: SteadyClock, first_seconds: float) -> SpeechClient:
    source = {
        "base_url": sim.base_urls["aitts"], "api_key": sim.api_key, "allow_private_addresses": True,
        "signing_secrets": [], "poll": {"first_seconds": first_seconds},
    }  # fmt: skip
    return SpeechClient(configured(folder, source=source), "aitts", clock)


async def test_a_job_is_polled_though_the_clock_is_set_back(tmp_path: Path) -> None:
    set_by = [0.0]
    async with Simulator(job_seconds=0.0) as sim:
        client = client_of(sim, tmp_path, SteadyClock(lambda: time.time() + set_by[0]), first_seconds=2)
        with logged() as lines:
            await client.start()
            try:
                begun = await client.submit(Speech(text="Hello.", voice="alloy"))
                async with asyncio.timeout(PATIENCE):
                    async for row in client.follow(begun["id"]):
                        if row["state"] == "watching" and row["polls"] == 0:
                            set_by[0] = -HOUR
            finally:
                await client.stop()
            assert lines.of("clock.stepped")
        assert (row["state"], row["polls"]) == ("completed", 1)


async def test_fetched_audio_is_dated_by_the_same_clock_as_its_event(tmp_path: Path) -> None:
    clock = SteadyClock(lambda: time.time() - HOUR)
    async with Simulator(job_seconds=0.0) as sim:
        client = client_of(sim, tmp_path, clock, first_seconds=0.1)
        await client.start()
        try:
            begun = await client.submit(Speech(text="Hello.", voice="alloy"))
            async with asyncio.timeout(PATIENCE):
                row = [row async for row in client.follow(begun["id"])][-1]
                await client.files(row, print)
        finally:
            await client.stop()
    [artifact] = query(tmp_path / "data" / "receiver.db", "SELECT * FROM artifacts")
    assert row["ended_at"] <= artifact["fetched_at"] <= clock.now()
