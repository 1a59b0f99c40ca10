"""Processes on one PostgreSQL, one of which has a clock that is two hours ahead: it takes nothing of the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from receiver.assembly.receiver import build_receiver
from receiver.clock import SteadyClock
from receiver.engine.context import Context
from receiver.engine.handler import Handler
from receiver.model.event import JobCompleted
from tests.integration.engine_support import Signal, registry
from tests.integration.intake_support import Lines, Running, completed, configured, started
from tests.patience import PATIENCE
from tests.postgresql_server import PostgresqlServer
from tests.stores import postgresql_address, query

pytestmark = pytest.mark.anyio

HOURS = 7200.0


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    with postgresql_address(postgresql) as address:
        yield address


class Machine:
    """A machine of its own: its clock is `ahead` by so many seconds, and it has an audio folder of its own."""

    def __init__(self, address: str, folder: Path, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self.begun = 0
        self.go = asyncio.Event()
        self._settings = configured(
            folder, handlers={}, store={"url": address}, audio={"url": str(folder)}, dispatch={"lease_seconds": 6.0}
        )

    async def _work(self, event: JobCompleted, ctx: Context[Any]) -> None:
        self.begun += 1
        while not self.go.is_set():
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Running]:
        clock = SteadyClock(lambda: time.time() + self.ahead)
        handler = Handler("work", self._work, (JobCompleted,))
        async with started(build_receiver(self._settings, registry(handler), clock)) as up:
            try:
                yield up
            finally:
                self.go.set()


async def private(up: Running, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=up.receiver.private)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.get(path)


def differences(address: str) -> list[float]:
    """What the processes have written of their clocks."""
    return [row["clock_difference"] for row in query(address, "SELECT clock_difference FROM processes")]


def outcomes(address: str) -> list[str]:
    return [row["outcome"] for row in query(address, "SELECT outcome FROM attempts ORDER BY event_id, number")]


@pytest.mark.parametrize("ahead", [HOURS, -HOURS], ids=["ahead", "behind"])
async def test_a_clock_that_differs_takes_nothing_until_it_is_right(
    address: str, tmp_path: Path, signal: Signal, lines: Lines, ahead: float
) -> None:
    right, wrong = Machine(address, tmp_path / "right"), Machine(address, tmp_path / "wrong", ahead)
    async with right.running() as up:
        assert (await up.post(completed("first"))).status_code == 202
        async with asyncio.timeout(PATIENCE):
            while not right.begun:
                await asyncio.sleep(0.01)
        async with wrong.running() as other:
            await signal.until(lambda: lines.of("clock.differs") or lines.of("run.crashed"))
            assert (wrong.begun, lines.of("run.crashed")) == (0, [])
            [line] = lines.of("clock.differs")
            assert line["seconds"] == pytest.approx(ahead, abs=60)
            paused = (await private(other, "/readyz")).json()["paused"]
            assert "the database server's" in paused["clock"]
            shown = (await private(other, "/metrics")).text
            assert f"tts_receiver_clock_difference_seconds {'-' * (ahead < 0)}7" in shown
            await signal.until(lambda: len(differences(address)) == 2)
            assert sorted(differences(address), key=abs) == [pytest.approx(0, abs=60), pytest.approx(ahead, abs=60)]
            right.go.set()
            await signal.until(lambda: lines.of("run.succeeded"))
            wrong.ahead = 0.0
            await signal.until(lambda: lines.of("clock.agrees"))
            assert "clock" not in (await private(other, "/readyz")).json().get("paused", {})
            async with asyncio.timeout(PATIENCE):  # at once, not with the next heartbeat
                while max(map(abs, differences(address))) > 60:
                    await asyncio.sleep(0.01)
    assert (right.begun, wrong.begun) == (1, 0)
    assert outcomes(address) == ["succeeded"]


async def test_a_process_whose_clock_was_put_right_works(
    address: str, tmp_path: Path, signal: Signal, lines: Lines
) -> None:
    machine = Machine(address, tmp_path, HOURS)
    machine.go.set()
    async with machine.running() as up:
        assert (await up.post(completed("a"), at=time.time() + HOURS)).status_code == 202, "the intake continues"
        assert lines.of("clock.differs")
        machine.ahead = 0.0
        await signal.until(lambda: lines.of("run.succeeded"))
    assert outcomes(address) == ["succeeded"]


async def test_another_audio_folder_is_named_though_the_clocks_differ(
    address: str, tmp_path: Path, signal: Signal, lines: Lines
) -> None:
    one, other = Machine(address, tmp_path / "one"), Machine(address, tmp_path / "other", HOURS)
    async with one.running(), other.running():
        assert len(lines.of("audio.not_shared")) == 1
