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

pytestmark = pytest.mark.anyio

HOUR = 3600.0


async def test_a_job_is_polled_though_the_clock_is_set_back(tmp_path: Path) -> None:
    set_by = [0.0]
    async with Simulator(job_seconds=0.0) as sim:
        source = {
            "base_url": sim.base_urls["aitts"], "api_key": sim.api_key, "allow_private_addresses": True,
            "signing_secrets": [], "poll": {"first_seconds": 2},
        }  # fmt: skip
        client = SpeechClient(
            configured(tmp_path, source=source), "aitts", SteadyClock(lambda: time.time() + set_by[0])
        )
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
