"""A whole receiver whose machine's clock is set back by an hour while a run waits to be tried again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.assembly.receiver import build_receiver
from receiver.clock import SteadyClock
from receiver.engine.context import Context
from receiver.engine.handler import Handler
from receiver.errors import AudioPostponed
from receiver.model.event import JobCompleted
from tests.integration.engine_support import Signal, registry, telling
from tests.integration.intake_support import completed, configured, logged, started

pytestmark = pytest.mark.anyio

HOUR = 3600.0


async def test_a_run_that_waits_is_tried_again_though_the_clock_is_set_back(tmp_path: Path) -> None:
    signal, set_by, attempts = Signal(), [0.0], list[int]()

    async def later(event: JobCompleted, ctx: Context[Any]) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) == 1:
            raise AudioPostponed("Not yet.", after=1.0)

    clock = SteadyClock(lambda: time.time() + set_by[0])
    receiver = build_receiver(
        configured(tmp_path, handlers={}), registry(Handler("later", later, (JobCompleted,))), clock
    )
    with logged() as lines, telling(lines, signal):
        async with started(receiver) as up:
            assert (await up.post(completed())).status_code == 202
            await signal.until(lambda: lines.of("run.postponed"))
            set_by[0] = -HOUR
            await signal.until(lambda: lines.of("run.succeeded"))
            [stepped] = lines.of("clock.stepped")
            assert stepped["seconds"] == pytest.approx(-HOUR, abs=1)
            private = httpx.ASGITransport(app=receiver.private)
            async with httpx.AsyncClient(transport=private, base_url="http://127.0.0.1") as client:
                assert "tts_receiver_clock_steps_total 1.0" in (await client.get("/metrics")).text
    assert len(attempts) == 2


async def test_the_last_use_of_a_key_is_noted_though_the_clock_was_set_back_since(tmp_path: Path) -> None:
    signal, set_by = Signal(), [0.0]
    clock = SteadyClock(lambda: time.time() + set_by[0])
    receiver = build_receiver(configured(tmp_path, handlers={}), registry(), clock)
    with logged() as lines, telling(lines, signal):
        async with started(receiver) as up:
            assert (await up.post(completed("a"))).status_code == 202
            set_by[0] = -HOUR
            await signal.until(lambda: lines.of("clock.times_corrected"))
            set_by[0] += 120  # two minutes later
            await signal.until(lambda: len(lines.of("clock.stepped")) == 2)
            assert (await up.post(completed("b"), at=clock.now())).status_code == 202
            [key] = up.rows("signing_keys")
            assert key["last_used_at"] == pytest.approx(clock.now(), abs=30)
