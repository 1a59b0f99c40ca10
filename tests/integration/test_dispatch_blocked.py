"""A handler that blocks the event loop is named in a warning and a metric, and the intake keeps answering meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, Event, handler
from tests.integration.engine_support import Gate, metric, receiving, telling
from tests.integration.intake_support import Lines, Running, completed, configured
from tests.stores import query

pytestmark = pytest.mark.anyio

Ctx = Context[Any]


def blocked(up: Running, name: str) -> float:
    return metric(up.receiver.metrics, f'tts_receiver_handler_blocked_total{{handler="{name}"}}')


async def test_a_handler_that_blocks_is_named_and_the_intake_keeps_answering(
    tmp_path: Path, lines: Lines, gate: Gate
) -> None:
    @handler(on=Event)
    async def rude(event: Event, ctx: Ctx) -> str:
        gate.block()
        return "at last"

    async with receiving(configured(tmp_path), rude) as up:
        assert (await up.post(completed("job_1"))).status_code == 202
        await gate._signal.until(lambda: gate.inside)
        with telling(lines, gate._signal):
            await gate._signal.until(lambda: lines.of("handler.blocks_loop"))
        for number in range(2, 6):
            answer = await up.post(completed(f"job_{number}"))
            assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
        assert (await up.client.get("/readyz")).status_code == 200
        assert gate.inside == 1
        [line] = lines.of("handler.blocks_loop")  # once, however long it blocks
        assert (line["level"], line["handler"]) == ("warning", "rude")
        assert line["where"].startswith(__file__)
        assert line["where"].endswith(" in rude")
        assert blocked(up, "rude") == 1
        gate.open()
    rows = query(up.receiver.database, "SELECT state, result FROM runs WHERE attempt > 0")
    assert {"state": "succeeded", "result": "at last"} in rows
    assert len(query(up.receiver.database, "SELECT id FROM events")) == 5


async def test_a_handler_that_awaits_or_runs_in_a_thread_is_not_called_blocking(
    tmp_path: Path, lines: Lines, gate: Gate
) -> None:
    """Watched as often as it takes for the one that does block to be named."""
    others = Gate(gate._signal)

    @handler(on=Event)
    async def polite(event: Event, ctx: Ctx) -> None:
        await others.wait_open()

    @handler(on=Event)
    def in_a_thread(event: Event, ctx: Ctx) -> None:
        others.block()

    @handler(on=Event)
    async def rude(event: Event, ctx: Ctx) -> None:
        await others_are_inside.wait_open()
        gate.block()

    others_are_inside = Gate(gate._signal)
    async with receiving(configured(tmp_path), polite, in_a_thread, rude) as up:
        await up.post(completed())
        await gate._signal.until(lambda: others.inside == 2 and others_are_inside.inside == 1)
        others_are_inside.open()
        with telling(lines, gate._signal):
            await gate._signal.until(lambda: lines.of("handler.blocks_loop"))
        assert [line["handler"] for line in lines.of("handler.blocks_loop")] == ["rude"]
        assert (blocked(up, "polite"), blocked(up, "in_a_thread"), blocked(up, "rude")) == (0, 0, 1)
        gate.open()
        others.open()


async def test_a_blocking_handler_is_timed_out_and_another_process_may_have_its_run(
    tmp_path: Path, lines: Lines, gate: Gate
) -> None:
    @handler(on=Event, timeout=0.05, attempts=1)
    async def rude(event: Event, ctx: Ctx) -> None:
        gate.block()

    async with receiving(configured(tmp_path), rude) as up:
        with telling(lines, gate._signal):
            await up.post(completed())
            await gate._signal.until(lambda: lines.of("run.dead"))
        assert gate.inside == 1
        gate.open()
    [row] = query(up.receiver.database, "SELECT state, error FROM runs")
    assert row == {"state": "dead", "error": "TimeoutError: not done after 0.05 s"}


HELD_UP_SECONDS = 2.5
"""All three runs must have begun before this has passed: a slow machine needs some time for it."""


async def test_who_is_held_up_by_a_blocking_run_loses_no_attempt(tmp_path: Path, lines: Lines, gate: Gate) -> None:
    others = Gate(gate._signal)

    @handler(on=Event, timeout=HELD_UP_SECONDS, attempts=1)
    async def polite(event: Event, ctx: Ctx) -> str:
        await others.wait_open()
        return "done"

    @handler(on=Event, timeout=HELD_UP_SECONDS, attempts=1)
    def in_a_thread(event: Event, ctx: Ctx) -> str:
        others.block()
        return "done"

    @handler(on=Event, timeout=HELD_UP_SECONDS + 0.1, attempts=1)
    async def rude(event: Event, ctx: Ctx) -> None:
        if event.job_id == "job_1":
            while others.inside < 2:
                await asyncio.sleep(0)
            await asyncio.create_task(block())

    async def block() -> None:
        gate.block()

    async with receiving(configured(tmp_path), polite, in_a_thread, rude) as up:
        up.receiver.watchdog._patience = 0.02
        await up.post(completed("job_1"))
        with telling(lines, gate._signal):
            await gate._signal.until(lambda: lines.of("handler.blocks_loop"))
            await up.post(completed("job_2"))
            await gate._signal.until(lambda: lines.of("run.dead") and len(lines.of("run.postponed")) == 2)
            ready = (await up.client.get("/readyz")).json()
            assert "The handler rude blocks the handlers' event loop" in ready["paused"]["handlers"]
            assert [line["handler"] for line in lines.of("run.dead")] == ["rude"]
            assert {line["handler"] for line in lines.of("run.postponed")} == {"polite", "in_a_thread"}
            waiting = "SELECT attempt FROM runs JOIN events ON id = event_id WHERE job_id = 'job_2'"
            assert [row["attempt"] for row in query(up.receiver.database, waiting)] == [0, 0, 0]
            others.open()
            gate.open()
            await gate._signal.until(lambda: len(lines.of("run.succeeded")) == 5)
        assert "paused" not in (await up.client.get("/readyz")).json()
