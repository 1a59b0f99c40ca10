"""The watch over the handlers' loop: who blocks it is named, once each time, with the place in the code."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from receiver import Event, handler
from receiver.app import new_loop
from receiver.engine.runner import HandlerLoop
from receiver.engine.watch import Watch
from receiver.metrics import Metrics
from receiver.testing import completed

WAIT = 10.0
CTX: Any = None


@pytest.fixture(params=[asyncio.new_event_loop, new_loop], ids=["asyncio", "fastest"])
def loop(request: pytest.FixtureRequest) -> Iterator[HandlerLoop]:
    loop = HandlerLoop(request.param)
    loop.start()
    yield loop
    assert loop.stop(WAIT)


@pytest.fixture
def lines() -> Iterator[queue.Queue[dict[str, Any]]]:
    """The log, as something to wait for."""
    lines: queue.Queue[dict[str, Any]] = queue.Queue()

    def keep(_: Any, method: str, line: Any) -> Any:
        lines.put({"level": method, **line})
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    yield lines
    structlog.reset_defaults()


def counted(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value("tts_receiver_handler_blocked_total", {"handler": name}) or 0.0


def test_each_time_a_handler_blocks_it_is_named_once(loop: HandlerLoop, lines: queue.Queue[dict[str, Any]]) -> None:
    release = threading.Semaphore(0)

    @handler(on=Event)
    async def rude(event: Event, ctx: Any) -> None:
        release.acquire(timeout=WAIT)

    metrics = Metrics()
    watch = Watch(loop, metrics, busy=lambda: True, patience=0.01)
    watch.start()
    for times in (1, 2):
        future = loop.submit(loop.execute(rude, completed(), CTX))
        line = lines.get(timeout=WAIT)
        assert (line["level"], line["event"], line["handler"]) == ("warning", "handler.blocks_loop", "rude")
        assert "test_watch.py" in line["where"]
        assert line["where"].endswith("in rude")
        assert counted(metrics, "rude") == times
        release.release()
        future.result(WAIT)
    watch.stop()
    assert lines.empty()


def test_the_watch_ends_while_a_handler_still_blocks(loop: HandlerLoop, lines: queue.Queue[dict[str, Any]]) -> None:
    release = threading.Event()

    @handler(on=Event)
    async def rude(event: Event, ctx: Any) -> None:
        release.wait(WAIT)

    watch = Watch(loop, Metrics(), busy=lambda: True, patience=0.01)
    watch.start()
    loop.submit(loop.execute(rude, completed(), CTX))
    lines.get(timeout=WAIT)
    watch.stop()
    watch._thread.join(WAIT)
    assert not watch._thread.is_alive()
    release.set()


def test_something_that_is_no_handler_is_called_unknown(loop: HandlerLoop, lines: queue.Queue[dict[str, Any]]) -> None:
    release = threading.Event()
    watch = Watch(loop, Metrics(), busy=lambda: True, patience=0.01)
    watch.start()
    loop.loop.call_soon_threadsafe(release.wait, WAIT)
    assert lines.get(timeout=WAIT)["handler"] == "unknown"
    release.set()
    watch.stop()
