"""The watch over the handlers' loop: who blocks it is named, once each time, with the place in the code."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from receiver import Event, handler
from receiver.engine.event_loops import new_handlers_loop
from receiver.engine.runner import HandlerLoop
from receiver.engine.watchdog import LoopWatchdog
from receiver.metrics import Metrics
from receiver.testing import completed
from tests.patience import PATIENCE

Log = queue.Queue[dict[str, Any]]
Start = Callable[[HandlerLoop, Metrics, threading.Event], LoopWatchdog]
CTX: Any = None


@pytest.fixture(params=[asyncio.new_event_loop, new_handlers_loop], ids=["asyncio", "fastest"])
def loop(request: pytest.FixtureRequest) -> Iterator[HandlerLoop]:
    loop = HandlerLoop(request.param)
    loop.start()
    yield loop
    assert loop.stop(PATIENCE)


@pytest.fixture
def lines() -> Iterator[Log]:
    """The log, as something to wait for."""
    lines: Log = queue.Queue()

    def keep(_: Any, method: str, line: Any) -> Any:
        lines.put({"level": method, **line})
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    yield lines
    structlog.reset_defaults()


@pytest.fixture
def watching(loop: HandlerLoop) -> Iterator[Start]:
    """Starts watches, which look while the event is set; they end before the loop does."""
    started: list[LoopWatchdog] = []

    def start(loop: HandlerLoop, metrics: Metrics, busy: threading.Event) -> LoopWatchdog:
        watch = LoopWatchdog(loop, metrics, busy.is_set, patience=0.01)
        watch.start()
        started.append(watch)
        return watch

    yield start
    for watch in started:
        watch.stop()
        watch._thread.join(PATIENCE)


def counted(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value("tts_receiver_handler_blocked_total", {"handler": name}) or 0.0


def test_each_time_a_handler_blocks_it_is_named_once(loop: HandlerLoop, lines: Log, watching: Start) -> None:
    release, busy = threading.Semaphore(0), threading.Event()

    @handler(on=Event)
    async def rude(event: Event, ctx: Any) -> None:
        busy.set()
        release.acquire(timeout=PATIENCE)

    metrics = Metrics()
    watch = watching(loop, metrics, busy)
    for times in (1, 2):
        future = loop.submit(loop.execute(rude, completed(), CTX))
        line = lines.get(timeout=PATIENCE)
        assert (line["level"], line["event"], line["handler"]) == ("warning", "handler.blocks_loop", "rude")
        assert "test_watchdog.py" in line["where"]
        assert line["where"].endswith("in rude")
        assert counted(metrics, "rude") == times
        busy.clear()
        release.release()
        future.result(PATIENCE)
    watch.stop()
    assert lines.empty()


def test_a_task_that_a_handler_made_bears_the_handlers_name(loop: HandlerLoop, lines: Log, watching: Start) -> None:
    release, busy = threading.Event(), threading.Event()

    async def part(name: str) -> None:
        busy.set()
        release.wait(PATIENCE)

    @handler(on=Event)
    async def rude(event: Event, ctx: Any) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(part("a"))
            group.create_task(part("b"))

    metrics = Metrics()
    watching(loop, metrics, busy)
    future = loop.submit(loop.execute(rude, completed(), CTX))
    line = lines.get(timeout=PATIENCE)
    assert (line["handler"], counted(metrics, "rude")) == ("rude", 1)
    assert line["where"].endswith("in part")
    busy.clear()
    release.set()
    future.result(PATIENCE)


def test_a_tasks_own_name_does_not_become_a_metrics_label(loop: HandlerLoop, lines: Log, watching: Start) -> None:
    release, busy = threading.Event(), threading.Event()

    async def part() -> None:
        busy.set()
        release.wait(PATIENCE)

    @handler(on=Event)
    async def rude(event: Event, ctx: Any) -> None:
        await asyncio.create_task(part(), name=f"upload of {event.job_id}")

    metrics = Metrics()
    watching(loop, metrics, busy)
    future = loop.submit(loop.execute(rude, completed(), CTX))
    assert lines.get(timeout=PATIENCE)["handler"] == "unknown"
    assert counted(metrics, "unknown") == 1
    busy.clear()
    release.set()
    future.result(PATIENCE)


def test_the_watch_ends_while_a_handler_still_blocks(loop: HandlerLoop, lines: Log, watching: Start) -> None:
    release, busy = threading.Event(), threading.Event()

    @handler(on=Event)
    async def rude(event: Event, ctx: Any) -> None:
        busy.set()
        release.wait(PATIENCE)

    watch = watching(loop, Metrics(), busy)
    loop.submit(loop.execute(rude, completed(), CTX))
    lines.get(timeout=PATIENCE)
    watch.stop()
    watch._thread.join(PATIENCE)
    assert not watch._thread.is_alive()
    busy.clear()
    release.set()


def test_something_that_is_no_handler_is_called_unknown(loop: HandlerLoop, lines: Log, watching: Start) -> None:
    release, busy = threading.Event(), threading.Event()
    watch = watching(loop, Metrics(), busy)
    loop.loop.call_soon_threadsafe(lambda: (busy.set(), release.wait(PATIENCE)))
    assert lines.get(timeout=PATIENCE)["handler"] == "unknown"
    busy.clear()
    release.set()
    watch.stop()
