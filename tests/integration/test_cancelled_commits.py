"""Work that is cancelled while its commit is pending: what was stored is reported as stored."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from receiver.providers.types import Speech
from receiver.simulator import Simulator
from receiver.store.database import Database
from receiver.telemetry.hooks import Telemetry
from tests.integration.engine_support import fresh_store
from tests.integration.intake_support import configured
from tests.integration.outbound_support import serving
from tests.integration.test_several_files import bench_over
from tests.integration.test_telemetry import receiving, refuse
from tests.patience import PATIENCE
from tests.recording import recorder
from tests.stores import WriteLock, execute, open_store

pytestmark = pytest.mark.anyio

FULL = "CREATE TRIGGER full BEFORE INSERT ON artifacts BEGIN SELECT RAISE(ABORT, 'full'); END"


class BlockedEnd(Telemetry):
    """Keeps the end of a polled job from being committed, and keeps the task that polled it."""

    database: Database
    lock: WriteLock | None = None
    task: asyncio.Task[None] | None = None

    def job_polled(self, source: str, job_id: str | None, outcome: str, error: BaseException | None) -> None:
        if outcome == "ended":
            self.lock, self.task = WriteLock(self.database), asyncio.current_task()


async def test_a_poll_that_is_cancelled_during_its_commit_reports_its_event(tmp_path: Path) -> None:
    blocked = BlockedEnd()
    async with Simulator(job_seconds=None) as sim:
        source = {
            "base_url": sim.base_urls["aitts"],
            "api_key": sim.api_key,
            "allow_private_addresses": True,
            "poll": {"requests_per_second": 1000, "first_seconds": 0.1},
        }
        sim.force("lost_webhook")
        async with receiving(configured(tmp_path, source=source), refuse, beside=blocked) as up:
            blocked.database = up.receiver.database
            await up.receiver.jobs.submit(recorder(), "aitts", Speech(text="Hello.", voice="alloy"))
            await up.until("job_polled")  # the first poll also stores when the source last answered
            [job] = [submitted.id for submitted in sim.jobs]
            sim.finish(job)
            await up.signal.until(lambda: blocked.task)
            assert blocked.task is not None
            assert blocked.lock is not None
            blocked.task.cancel()
            await asyncio.gather(blocked.task, return_exceptions=True)
            assert blocked.task.cancelled()
            assert up.recorder.arguments("event_stored") == []
            blocked.lock.release()
            await up.until("run_finished")
    [(delivery,)] = up.recorder.arguments("event_stored")
    assert (delivery.origin, delivery.job_id) == ("poll", job)


@pytest.mark.parametrize("stored", [True, False])
async def test_a_fetch_that_is_cancelled_during_the_commit_of_its_row_reports_what_became_of_it(
    tmp_path: Path, stored: bool
) -> None:
    fresh_store(tmp_path / "receiver.db")
    async with serving() as server, bench_over(tmp_path, server) as bench:
        event = bench.event(count=1)
        if not stored:
            execute(tmp_path / "receiver.db", FULL)
        with WriteLock(bench.database) as lock:
            fetching = asyncio.ensure_future(bench.audio_service.get(event))
            async with asyncio.timeout(PATIENCE):
                while not bench.database.waiting:
                    await asyncio.sleep(0)
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)
            assert fetching.cancelled()
            lock.release()
        async with asyncio.timeout(PATIENCE):
            while bench.recorder.unended():
                await asyncio.sleep(0)
        ends = [hook for hook, _ in bench.recorder.calls]
        assert ends == ["fetch_started", "fetch_stored" if stored else "fetch_failed"]
        assert bench.there() == ([0] if stored else [])


async def test_the_outcome_is_passed_on_once_if_the_caller_is_cancelled_when_the_commit_has_just_ended(
    tmp_path: Path,
) -> None:
    fresh_store(tmp_path / "receiver.db")
    got: list[int | BaseException] = []
    with closing(open_store(tmp_path / "receiver.db")) as database:
        database.start()
        with WriteLock(database) as lock:
            before = database.batch(lambda _, items: items, 0)
            work = asyncio.ensure_future(database.write(lambda _: 1, abandoned=got.append))
            after = asyncio.ensure_future(database.write(lambda _: 2))
            await asyncio.sleep(0)
            before.add_done_callback(lambda _: work.cancel())  # its result is there, and it has not gone on yet
            lock.release()
        assert await after == 2
        await asyncio.gather(work, return_exceptions=True)
        assert work.cancelled()
        await database.write(lambda _: 3)
    assert got == [1]
