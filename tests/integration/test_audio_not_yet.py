"""Audio that answers 404 just after the job's end: asked for again for some minutes, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, JobCompleted, handler
from receiver.engine.audio import AudioService
from receiver.engine.audio_backoff import NOT_YET_SECONDS
from receiver.engine.audio_refresh import AudioUrlRefresher
from receiver.engine.audio_slots import MAX_DOWNLOADS
from receiver.engine.audio_source import AudioSource
from receiver.engine.throttle import Throttle
from receiver.outbound.audio import AudioFetcher
from receiver.outbound.storage import open_storage
from receiver.providers import PROVIDERS
from receiver.providers.types import Account
from receiver.simulator import Simulator
from receiver.telemetry.hooks import Telemetry, combine
from receiver.telemetry.log import LogTelemetry
from receiver.telemetry.metrics import MetricsTelemetry
from tests.clocks import FixedRandom
from tests.integration.engine_support import NOW, Engine, ManualClock, Signal, engine
from tests.integration.intake_support import Lines, logged
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio


class Bench:
    """A simulated provider, and a dispatcher whose one handler asks for the audio and has a single attempt."""

    def __init__(self, sim: Simulator, up: Engine, asks: list[float]) -> None:
        self.sim, self.up, self.asks = sim, up, asks

    async def complete(self) -> None:
        """End a job; its event comes in at this moment."""
        job = self.sim.finish(await self.sim.submit("Hello"))
        self.up.new(job.id)

    async def postponed(self, times: int) -> dict[str, Any]:
        """The run, once it has been postponed so many times."""
        await self.up.until(lambda: self.up.run()["forgiven"] == times)
        return self.up.run()

    async def to_the_next(self, times: int) -> None:
        """Move the clock to when the run is due again."""
        row = await self.postponed(times)
        assert row["state"] == "pending"
        self.up.clock.advance(row["due_at"] - self.up.clock.now())
        self.up.dispatcher.wake()


@asynccontextmanager
async def bench_in(folder: Path, downloads: int = MAX_DOWNLOADS) -> AsyncIterator[Bench]:
    asks: list[float] = []
    desks: list[AudioService] = []

    @handler(on=JobCompleted, attempts=1)
    async def listen(event: JobCompleted, ctx: Context[Any]) -> str:
        asks.append(up.clock.now() - NOW)
        signal.notify()  # its run may stay at work for as long as the test waits
        return (await desks[0].get(event)).sha256

    signal = Signal()
    clock = ManualClock(signal)
    async with (
        Simulator(job_seconds=None, clock=clock) as sim,
        engine(folder / "receiver.db", listen, signal=signal, clock=clock) as up,
    ):
        storage = open_storage(str(folder / "audio"), Path("/"))
        fetcher = AudioFetcher(storage, folder / ".spool", 1 << 24, clock=clock, rng=FixedRandom(0.5))
        sources = {"aitts": AudioSource(PROVIDERS["aitts"], Account(sim.base_url, sim.api_key), True)}
        renew = AudioUrlRefresher(fetcher, sources, {"aitts": Throttle(up.database, "aitts", 1.0, clock, Telemetry())})
        desks.append(
            AudioService(
                up.database,
                fetcher,
                storage,
                sources,
                combine(MetricsTelemetry(up.metrics, ()), LogTelemetry()),
                renew,
                downloads,
                clock=clock,
                rng=FixedRandom(0.5),
            )
        )
        yield Bench(sim, up, asks)
        up.handlers.submit(fetcher.aclose()).result(PATIENCE)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_in(tmp_path) as made:
        yield made


@pytest.fixture
async def lines() -> AsyncIterator[Lines]:
    with logged() as lines:
        yield lines


async def test_it_is_asked_for_again_with_back_off_and_its_only_attempt_is_not_used_up(
    bench: Bench, lines: Lines
) -> None:
    bench.sim.force("object_gone", 5, at="storage")
    await bench.complete()
    for times in range(1, 6):
        await bench.to_the_next(times)
    await bench.up.until_state("succeeded")
    assert bench.asks == [0, 1, 2, 4, 8, 16]
    assert bench.up.attempts() == [(6, "succeeded")]
    assert [line["again_in"] for line in lines.of("run.postponed")] == [1, 1, 2, 4, 8]
    assert bench.up.metric('tts_receiver_runs_total{handler="listen",outcome="postponed"}') == 5
    assert bench.sim.requests["storage"] == 6


@pytest.mark.parametrize("fault", ["object_gone", "audio_gone"])
async def test_after_some_minutes_it_is_gone(bench: Bench, lines: Lines, fault: str) -> None:
    bench.sim.force(fault, 1000)
    await bench.complete()
    times = 0
    while bench.asks[-1:] < [NOT_YET_SECONDS]:
        times += 1
        await bench.to_the_next(times)
        await bench.up.until(lambda times=times: len(bench.asks) > times)
    await bench.up.until_state("dead")
    assert bench.asks == [0, 1, 2, 4, 8, 16, 32, 64, 124, 184, 244, NOT_YET_SECONDS]
    assert "answers 404" in bench.up.run()["error"]
    assert [line["reason"] for line in lines.of("audio.not_fetched")] == ["audio_not_yet"] * times + ["audio_gone"]
    assert bench.up.attempts() == [(times + 1, "rejected")]


async def test_of_an_event_that_is_replayed_later_it_is_gone_at_once(bench: Bench) -> None:
    bench.sim.force("object_gone", 1000)
    job = bench.sim.finish(await bench.sim.submit("Hello"))
    bench.up.add(job.id)
    bench.up.clock.advance(NOT_YET_SECONDS)
    bench.up.dispatcher.wake()
    await bench.up.until_state("dead")
    assert bench.asks == [NOT_YET_SECONDS]
    assert bench.sim.requests["storage"] == 1


async def test_audio_that_waited_long_for_its_process_does_not_wait_as_long_for_a_download(
    tmp_path: Path, lines: Lines
) -> None:
    """As after a crash: the downloads of its source come and go, and soon there is one for it."""
    async with bench_in(tmp_path, downloads=1) as bench:
        bench.sim.force("slow_audio", 1, value=600)
        await bench.complete()
        await bench.up.until(lambda: len(bench.asks) == 1)
        job = bench.sim.finish(await bench.sim.submit("Hello again"))
        bench.up.add(job.id)
        bench.up.clock.advance(4 * PATIENCE)
        await bench.up.until(lambda: lines.of("run.postponed"))
        [line] = lines.of("run.postponed")
        assert "its maximum" in line["error"]
        assert line["again_in"] < PATIENCE  # the other has begun since this test did
