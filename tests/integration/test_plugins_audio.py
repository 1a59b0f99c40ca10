"""`ctx.audio()` and the simulated provider: one fetch for all handlers, none for a replay, another for a lost file."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver import Artifact, Context, Event, JobCompleted, JobFailed, Settings, handler
from receiver.app import Receiver
from receiver.assembly.receiver import build_receiver
from receiver.engine.handler import Handler
from receiver.simulator import Simulator, flat_body
from receiver.simulator.serving import LoopServer
from receiver.store import runs
from tests.integration.engine_support import NOW, Gate, Signal, ended, registry
from tests.integration.intake_support import Lines, configured
from tests.stores import execute, open_store, query

pytestmark = pytest.mark.anyio

Ctx = Context[Any]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None) as sim:
        yield sim
    assert sim.leaks == []


@pytest.fixture
def settings(tmp_path: Path, sim: Simulator) -> Settings:
    source = {
        "base_url": sim.base_url,
        "api_key": sim.api_key,
        "signing_secrets": [sim.signing_secret],
        "allow_private_addresses": True,
    }
    return configured(tmp_path, source=source)


@asynccontextmanager
async def serving(settings: Settings, sim: Simulator, *handlers: Handler) -> AsyncIterator[Receiver]:
    """A receiver on a real port, which the provider knows."""
    receiver = build_receiver(settings, registry(*handlers))
    async with (
        receiver.public.router.lifespan_context(receiver.public),
        LoopServer(receiver.public, "127.0.0.1", 0) as server,
    ):
        sim.webhook_url = f"{server.url}/webhooks/aitts"
        yield receiver


def rows(settings: Settings, table: str = "runs", order: str = "handler") -> list[dict[str, Any]]:
    return query(settings.base / "data" / "receiver.db", f"SELECT * FROM {table} ORDER BY {order}")


def replay(settings: Settings, *handlers: str) -> None:
    """As an operator does while the receiver is down."""
    database = open_store(settings.base / "data" / "receiver.db")
    [event] = rows(settings, "events", "id")
    keys = [(event["id"], handler) for handler in handlers]
    assert database.transact(runs.replay, keys, NOW) == keys
    database.close()


def fetches(sim: Simulator) -> tuple[int, int]:
    """Requests at the audio endpoint and at the storage behind it."""
    return sim.requests["audio"], sim.requests["storage"]


class AudioRecorder:
    """Handlers that ask for the audio at the same moment and keep what they are given."""

    def __init__(self, signal: Signal) -> None:
        self.artifacts: list[Artifact] = []
        self.gate = Gate(signal)
        self.signal = signal

    async def __call__(self, event: JobCompleted, ctx: Ctx) -> dict[str, Any]:
        await self.gate.wait_open()
        artifact = await ctx.audio()
        read = await artifact.read()
        assert artifact.path is not None
        assert read == artifact.path.read_bytes()
        self.artifacts.append(artifact)
        self.signal.notify()
        return {"sha256": hashlib.sha256(read).hexdigest(), "format": artifact.format}

    def handler(self, name: str, attempts: int = 8) -> Handler:
        async def ask(event: JobCompleted, ctx: Ctx) -> dict[str, Any]:
            return await self(event, ctx)

        return handler(on=JobCompleted, name=name, attempts=attempts)(ask)


async def test_two_handlers_of_one_event_share_one_fetch(settings: Settings, sim: Simulator, signal: Signal) -> None:
    received = AudioRecorder(signal)
    async with serving(settings, sim, received.handler("a"), received.handler("b")):
        job = sim.finish(await sim.submit("Hello"))
        await signal.until(lambda: received.gate.inside == 2)
        received.gate.open()
        await signal.until(lambda: len(received.artifacts) == 2)
    assert fetches(sim) == (1, 1)
    [artifact] = rows(settings, "artifacts", "n")
    assert [(row["handler"], row["state"]) for row in rows(settings)] == [("a", "succeeded"), ("b", "succeeded")]
    first, second = received.artifacts
    assert first == second
    assert first.sha256 == artifact["sha256"] == hashlib.sha256(first.path.read_bytes()).hexdigest()  # type: ignore[union-attr]
    assert (first.format, first.content_type, first.bytes) == ("wav", "audio/wav", artifact["bytes"])
    assert first.duration is not None
    assert first.duration > 0
    assert job.id in first.address
    assert Path(first.address).is_relative_to(settings.base / "data" / "audio")


async def test_a_replay_does_not_fetch_again(settings: Settings, sim: Simulator, signal: Signal) -> None:
    received = AudioRecorder(signal)
    received.gate.open()
    async with serving(settings, sim, received.handler("a")):
        sim.finish(await sim.submit("Hello"))
        await signal.until(lambda: len(received.artifacts) == 1)
    before = fetches(sim)
    replay(settings, "a")
    async with serving(settings, sim, received.handler("a")):
        await signal.until(lambda: len(received.artifacts) == 2)
    assert fetches(sim) == before == (1, 1)
    assert received.artifacts[0] == received.artifacts[1]
    assert [row["state"] for row in rows(settings)] == ["succeeded"]


@pytest.mark.parametrize("damage", ["removed", "cut short"])
async def test_a_file_that_was_harmed_by_hand_is_fetched_again(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines, damage: str
) -> None:
    received = AudioRecorder(signal)
    received.gate.open()
    async with serving(settings, sim, received.handler("a")):
        sim.finish(await sim.submit("Hello"))
        await signal.until(lambda: len(received.artifacts) == 1)
    path = Path(received.artifacts[0].address)
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    replay(settings, "a")
    async with serving(settings, sim, received.handler("a")):
        await signal.until(lambda: len(received.artifacts) == 2)
    assert fetches(sim) == (2, 2)
    assert received.artifacts[1].sha256 == received.artifacts[0].sha256
    assert len(rows(settings, "artifacts", "n")) == 1
    assert lines.of("audio.missing")


async def test_a_handler_added_later_uses_what_is_there(settings: Settings, sim: Simulator, signal: Signal) -> None:
    received = AudioRecorder(signal)
    received.gate.open()
    async with serving(settings, sim, received.handler("a")):
        sim.finish(await sim.submit("Hello"))
        await signal.until(lambda: len(received.artifacts) == 1)
    replay(settings, "b")
    async with serving(settings, sim, received.handler("a"), received.handler("b")):
        await signal.until(lambda: len(received.artifacts) == 2)
    assert fetches(sim) == (1, 1)


async def test_a_failed_job_has_no_audio_and_says_so(settings: Settings, sim: Simulator, signal: Signal) -> None:
    @handler(on=(JobCompleted, JobFailed))
    async def curious(event: Event, ctx: Ctx) -> None:
        try:
            await ctx.audio()
        finally:
            requested.append(True)
            signal.notify()

    requested: list[bool] = []
    async with serving(settings, sim, curious):
        sim.fail(await sim.submit("Hello"))
        await signal.until(lambda: requested)
    [row] = rows(settings)
    assert (row["state"], row["attempt"]) == ("dead", 1)
    assert row["error"] == "job.failed has no audio; subscribe with on=JobCompleted."
    assert fetches(sim) == (0, 0)


async def test_one_handlers_timeout_does_not_break_the_fetch_that_another_waits_for(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    received = AudioRecorder(signal)
    received.gate.open()

    @handler(on=JobCompleted, timeout=0.05, attempts=1)
    async def hasty(event: JobCompleted, ctx: Ctx) -> None:
        await ctx.audio()

    async with serving(settings, sim, received.handler("patient"), hasty):
        sim.force("slow_audio", value=0.5)
        sim.finish(await sim.submit("Hello"))
        await signal.until(lambda: lines.of("run.dead"))
        await signal.until(lambda: len(received.artifacts) == 1)
    assert fetches(sim) == (1, 1)
    assert {row["handler"]: row["state"] for row in rows(settings)} == {"hasty": "dead", "patient": "succeeded"}


async def test_audio_that_is_not_there_just_after_the_end_is_asked_for_again_and_no_attempt_is_used_up(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    received = AudioRecorder(signal)
    received.gate.open()
    async with serving(settings, sim, received.handler("a", attempts=1)):
        sim.force("object_gone", 4)  # by the durable endpoint, and at the temporary address
        sim.finish(await sim.submit("Hello"))
        await ended(lines, signal, 1)
    [row] = rows(settings)
    assert (row["state"], row["attempt"] - row["forgiven"], len(received.artifacts)) == ("succeeded", 1, 1)
    assert [line["reason"] for line in lines.of("audio.not_fetched")] == ["audio_not_yet"] * 2
    assert (len(lines.of("run.postponed")), lines.of("run.failed")) == (2, [])
    assert [row["outcome"] for row in rows(settings, "attempts")] == ["succeeded"]
    assert fetches(sim) == (3, 5)


async def test_audio_that_is_gone_is_a_dead_letter_at_once(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    received = AudioRecorder(signal)
    received.gate.open()
    async with serving(settings, sim, received.handler("a")) as receiver:
        sim.force("audio_gone", 10)
        sim.force("object_gone", 10)
        sim.finish(await sim.submit("Hello"))
        await signal.until(lambda: lines.of("run.postponed"))
        # as if all this had been ten minutes ago
        execute(receiver.database, "UPDATE events SET received_at = received_at - 600")
        await signal.until(lambda: lines.of("run.dead"))
    [row] = rows(settings)
    assert (row["state"], row["attempt"] - row["forgiven"], received.artifacts) == ("dead", 1, [])
    assert [line["reason"] for line in lines.of("audio.not_fetched")] == ["audio_not_yet", "audio_gone"]
    assert rows(settings, "artifacts", "n") == []


async def test_without_an_api_key_and_an_address_there_is_no_way_and_words_for_it(
    settings: Settings, sim: Simulator, signal: Signal, lines: Lines
) -> None:
    received = AudioRecorder(signal)
    received.gate.open()
    source = settings.sources["aitts"].model_copy(update={"api_key": None})
    settings = settings.model_copy(update={"sources": {"aitts": source}})
    async with serving(settings, sim, received.handler("a")):
        job_id = await sim.submit("Hello")
        sim.jobs.complete(job_id, 0)
        assert await sim.deliver(job_id, body=flat_body("job.completed", job_id=job_id, audio_endpoint=None)) == 202
        await signal.until(lambda: lines.of("run.dead"))
    [row] = rows(settings)
    assert row["error"] == (
        "The audio cannot be fetched: the source aitts has no api_key, and the event has no audio_url."
    )
