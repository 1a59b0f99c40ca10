"""Threads of plain handlers: no run waits for one that another run is in, and quick runs need few of them."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from receiver import Context, Event, handler
from receiver.engine.handler import Handler
from receiver.engine.outcome import Outcome
from receiver.engine.runner import HandlerLoop
from receiver.testing import completed
from tests.patience import PATIENCE

CTX: Any = None
EVENT = completed()
RUNS = 16


@pytest.fixture
def changes() -> queue.SimpleQueue[int]:
    """What the loop tells of abandoned threads."""
    return queue.SimpleQueue()


@pytest.fixture
def loop(changes: queue.SimpleQueue[int]) -> Iterator[HandlerLoop]:
    loop = HandlerLoop(asyncio.new_event_loop, changes.put)
    loop.start()
    yield loop
    assert loop.stop(PATIENCE)


async def run_together(loop: HandlerLoop, called: Handler) -> list[Outcome]:
    return await asyncio.gather(*(asyncio.create_task(loop.execute(called, EVENT, CTX)) for _ in range(RUNS)))


def refuse_further_threads(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """From now on the process can start so many threads of handlers and no more."""
    start, left = threading.Thread.start, [allowed]

    def start_if_allowed(thread: threading.Thread) -> None:
        if thread.name.startswith("handler-"):
            if not left[0]:
                raise RuntimeError("can't start new thread")
            left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_allowed)


@pytest.mark.parametrize("batches", [1, 2])
def test_runs_that_begin_together_and_block_are_all_at_work_at_once(loop: HandlerLoop, batches: int) -> None:
    everybody = threading.Barrier(RUNS)

    @handler(on=Event)
    def meets(event: Event, ctx: Context[Any]) -> int:
        return everybody.wait(PATIENCE)

    for _ in range(batches):
        outcomes = loop.submit(run_together(loop, meets)).result(PATIENCE)
        assert sorted(outcome.result for outcome in outcomes) == list(range(RUNS))


def test_a_thread_that_is_done_takes_the_next_run_itself(loop: HandlerLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_further_threads(monkeypatch, allowed=1)

    @handler(on=Event)
    def quick(event: Event, ctx: Context[Any]) -> int:
        return threading.get_ident()

    outcomes = loop.submit(run_together(loop, quick)).result(PATIENCE)
    assert {outcome.word for outcome in outcomes} == {"succeeded"}
    assert len({outcome.result for outcome in outcomes}) == 1


def test_a_run_whose_time_was_over_before_a_thread_came_does_not_begin(
    loop: HandlerLoop, changes: queue.SimpleQueue[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_further_threads(monkeypatch, allowed=1)
    entered, go, begun = threading.Semaphore(0), threading.Event(), []

    @handler(on=Event)
    def hangs(event: Event, ctx: Context[Any]) -> None:
        begun.append(ctx)
        entered.release()
        assert go.wait(PATIENCE)

    async def run_two() -> list[Outcome]:
        first, second = (asyncio.create_task(loop.execute(hangs, EVENT, ctx)) for ctx in ("first", "second"))
        return [await first, *await asyncio.gather(second, return_exceptions=True)]

    both = loop.submit(run_two())
    assert entered.acquire(timeout=PATIENCE)
    second = loop.submit(_cancel_last(loop)).result(PATIENCE)
    assert changes.get(timeout=PATIENCE) == 1
    go.set()
    assert changes.get(timeout=PATIENCE) == -1
    outcome, cancelled = both.result(PATIENCE)
    assert outcome.word == "succeeded"
    assert isinstance(cancelled, asyncio.CancelledError)
    assert begun == ["first"]
    assert second == "handler:hangs"


async def _cancel_last(loop: HandlerLoop) -> str:
    """Cancel the task of the last attempt that began, as when it is timed out; its name."""
    attempts = [task for task in asyncio.all_tasks(loop.loop) if task.get_name().startswith("handler:")]
    last = max(attempts, key=lambda task: task.get_coro().cr_frame.f_locals["ctx"])  # type: ignore[union-attr]
    last.cancel()
    return last.get_name()


def test_a_run_for_which_no_thread_can_be_started_is_a_failed_attempt(
    loop: HandlerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_further_threads(monkeypatch, allowed=0)

    @handler(on=Event)
    def never(event: Event, ctx: Context[Any]) -> None:
        raise AssertionError("began")

    for _ in range(2):
        outcome = loop.submit(loop.execute(never, EVENT, CTX)).result(PATIENCE)
        assert (outcome.word, str(outcome.error)) == ("failed", "can't start new thread")
