"""Our own outages cost a run no attempts: a full audio disk, a storage that refuses us, a store that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, JobCompleted, Settings, handler
from receiver.engine import storage_pause
from receiver.engine.handler import Handler
from receiver.errors import StoreUnavailable
from receiver.model.delivery import Delivery
from receiver.store import database as database_module
from receiver.store import inbox
from tests.faults import fill, small_disk
from tests.integration.engine_support import fresh_store, metric, receiving
from tests.integration.intake_support import Lines, configured
from tests.integration.outbound_support import ReceivedRequest, Say, Server, make_wav, ranged, serving
from tests.integration.s3_support import Bucket, serving_bucket
from tests.patience import PATIENCE
from tests.stores import WriteLock, execute, open_store, query

pytestmark = pytest.mark.anyio

Ctx = Context[Any]
WAV = make_wav(0.02)
RUNS = 1000
CONCURRENCY = 16


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(lambda request: ranged(WAV, request)) as made:
        yield made


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes hundredths, so that no test waits."""
    for name in ("FIRST_SECONDS", "MAX_SECONDS", "BATCH_SECONDS"):
        monkeypatch.setattr(storage_pause, name, 0.05)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket that the environment names."""
    with serving_bucket() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        yield bucket


def settings(folder: Path, server: Server, audio: str) -> Settings:
    source = {"base_url": server.url(), "api_key": "an-api-key-0123456789", "allow_private_addresses": True}
    return configured(folder, source=source, audio={"url": audio}, dispatch={"concurrency": CONCURRENCY})


@handler(on=JobCompleted)
async def keep(event: JobCompleted, ctx: Ctx) -> None:
    await ctx.audio()


@handler(on=JobCompleted)
async def note(event: JobCompleted, ctx: Ctx) -> None:
    pass


def stored(given: Settings, count: int, *handlers: Handler) -> Path:
    """A store with so many events, each with a run for each handler."""
    path = given.base / "data" / "receiver.db"
    path.parent.mkdir(exist_ok=True)
    database = open_store(fresh_store(path))
    names = tuple(one.name for one in handlers)
    deliveries = [
        Delivery(
            event_id=f"evt_{number:032x}", source="aitts", type="job.completed", key=f"job_{number}",
            job_id=f"job_{number}", origin="webhook", payload="{}", body=b"{}", headers="[]", key_id=None, skew=0.0,
            received_at=1_700_000_000.0, handlers=names,
        )
        for number in range(count)
    ]  # fmt: skip
    database.transact(inbox.accept, deliveries)
    database.close()
    return path


async def until(predicate: Callable[[], object]) -> None:
    """Return once it is true. Rows say nothing when they change: they are looked at again and again."""
    async with asyncio.timeout(PATIENCE):
        while not predicate():
            await asyncio.sleep(0.02)


def count(path: Path, condition: str) -> int:
    """How many runs are so."""
    [row] = query(path, f"SELECT count(*) AS runs FROM runs WHERE {condition}")
    return int(row["runs"])


async def test_a_full_audio_disk_costs_no_attempts_and_holds_up_only_what_needs_audio(
    tmp_path: Path, server: Server, lines: Lines
) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        given = settings(tmp_path, server, str(disk))
        path = stored(given, RUNS, keep, note)
        ballast = fill(disk)
        async with receiving(given, keep, note) as up:
            await until(lambda: count(path, "waits_for IS NOT NULL") >= RUNS - 1)
            await until(lambda: count(path, "handler = 'note' AND state = 'succeeded'") == RUNS)

            assert len(lines.of("audio.storage_paused")) == 1
            assert "No space left on device" in lines.of("audio.storage_paused")[0]["detail"]
            assert len(server.requests) <= 2 * CONCURRENCY, "runs in progress when it was noticed, and trials"
            assert query(path, "SELECT * FROM attempts WHERE handler = 'keep'") == []
            assert count(path, "handler = 'keep' AND state = 'pending' AND attempt > forgiven") == 0
            [claims] = query(path, "SELECT sum(attempt) AS claims FROM runs WHERE handler = 'keep'")
            assert claims["claims"] <= RUNS + 4 * CONCURRENCY
            ready = await up.client.get("/readyz")
            assert ready.status_code == 200, "deliveries are taken"
            assert "No space left on device" in ready.json()["paused"]["audio"]
            assert metric(up.receiver.metrics, "tts_receiver_audio_paused") == 1

            ballast.unlink()
            await until(lambda: count(path, "handler = 'keep' AND state = 'succeeded'") >= 40)
            await until(lambda: count(path, "waits_for IS NOT NULL") == 0)
            assert len(lines.of("audio.storage_resumed")) == 1
            assert (await up.client.get("/readyz")).json() == {"ready": True, "missing": {}}
            assert metric(up.receiver.metrics, "tts_receiver_audio_paused") == 0
    outcomes = query(path, "SELECT DISTINCT outcome FROM attempts WHERE outcome != 'released'")
    assert outcomes == [{"outcome": "succeeded"}]
    assert count(path, "handler = 'keep' AND state = 'succeeded' AND attempt - forgiven != 1") == 0


async def test_a_link_in_one_sources_way_costs_its_runs_their_attempts_and_pauses_nobody(
    tmp_path: Path, server: Server, lines: Lines
) -> None:
    """The storage itself can be written: it is no outage."""
    audio = tmp_path / "audio"
    (tmp_path / "elsewhere").mkdir()
    audio.mkdir()
    (audio / "aitts").symlink_to(tmp_path / "elsewhere")
    once = handler(on=JobCompleted, name="once", attempts=1)(keep.function)
    given = settings(tmp_path, server, str(audio))
    path = stored(given, 1, once)
    async with receiving(given, once):
        await until(lambda: count(path, "state = 'dead'") == 1)
    assert [row["outcome"] for row in query(path, "SELECT outcome FROM attempts")] == ["failed"]
    assert lines.of("audio.storage_paused") == []


async def test_a_storage_that_refuses_us_pauses_until_it_takes_a_file(
    tmp_path: Path, server: Server, lines: Lines, s3: Bucket
) -> None:
    s3.refuses = True
    given = settings(tmp_path, server, "s3://bucket/speech")
    path = stored(given, 1, keep)
    async with receiving(given, keep):
        await until(lambda: count(path, "waits_for IS NOT NULL") == 1)
        s3.refuses = False
        await until(lambda: count(path, "state = 'succeeded' AND attempt - forgiven = 1") == 1)
    assert [row["outcome"] for row in query(path, "SELECT outcome FROM attempts")] == ["succeeded"]
    assert len(lines.of("audio.storage_paused")) == len(lines.of("audio.storage_resumed")) == 1


async def test_a_run_whose_fetch_met_a_locked_store_is_not_charged(
    tmp_path: Path, server: Server, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(storage_pause, "STORE_RETRY_SECONDS", 0.0)
    given = settings(tmp_path, server, str(tmp_path / "audio"))
    path = stored(given, 1, keep)
    locks: list[WriteLock] = []

    def lock(request: ReceivedRequest) -> Say:
        if not locks:
            locks.append(WriteLock(path))
        return ranged(WAV, request)

    server.behave = lock
    async with receiving(given, keep):
        await until(lambda: lines.of("run.result_not_stored"))
        locks[0].release()
        await until(lambda: count(path, "state = 'succeeded' AND attempt - forgiven = 1") == 1)
    assert [row["outcome"] for row in query(path, "SELECT outcome FROM attempts")] == ["succeeded"]
    assert len(lines.of("run.postponed")) == 1


async def test_an_error_of_that_name_that_a_handler_raises_itself_counts(tmp_path: Path, server: Server) -> None:
    @handler(on=JobCompleted, attempts=1)
    async def away(event: JobCompleted, ctx: Ctx) -> None:
        raise StoreUnavailable("a store of mine")

    given = settings(tmp_path, server, str(tmp_path / "audio"))
    path = stored(given, 1, away)
    async with receiving(given, away):
        await until(lambda: count(path, "state = 'dead'") == 1)
    assert [row["outcome"] for row in query(path, "SELECT outcome FROM attempts")] == ["failed"]


async def test_a_start_looks_for_runs_that_waited_under_a_former_process(tmp_path: Path, server: Server) -> None:
    given = settings(tmp_path, server, str(tmp_path / "audio"))
    path = stored(given, 1, keep)
    execute(path, "UPDATE runs SET waits_for = 'audio_storage', due_at = due_at + 1e9")
    async with receiving(given, keep):
        await until(lambda: count(path, "state = 'succeeded'") == 1)
