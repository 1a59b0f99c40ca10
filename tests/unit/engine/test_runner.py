"""The handlers' own loop: started, stopped, and still turning whatever a handler does to it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
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


def run(loop: HandlerLoop, made: Handler) -> Outcome:
    return loop.submit(loop.execute(made, EVENT, CTX)).result(PATIENCE)


@handler(on=Event)
async def good(event: Event, ctx: Context[Any]) -> str:
    return "good"


def test_an_async_handler_runs_on_the_loops_thread_and_a_plain_one_in_its_own(loop: HandlerLoop) -> None:
    @handler(on=Event)
    async def here(event: Event, ctx: Any) -> int:
        return threading.get_ident()

    @handler(on=Event)
    def there(event: Event, ctx: Any) -> str:
        return threading.current_thread().name

    assert run(loop, here).result == loop.thread_id
    assert run(loop, there).result == "handler-there"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_task_that_exits_behind_a_handlers_back_does_not_end_the_loop(
    loop: HandlerLoop, error: type[BaseException]
) -> None:
    async def leave() -> None:
        raise error("behind its back")

    @handler(on=Event)
    async def careless(event: Event, ctx: Any) -> str:
        task = asyncio.get_running_loop().create_task(leave())
        await asyncio.wait([task])
        assert isinstance(task.exception(), error)
        return "went on"

    assert run(loop, careless) == Outcome("succeeded", result="went on")
    assert run(loop, good).result == "good"


def test_an_async_function_behind_a_plain_decorator_is_awaited(loop: HandlerLoop) -> None:
    async def work(event: Event, ctx: Any) -> int | None:
        await asyncio.sleep(0)
        return threading.get_ident()

    @handler(on=Event)
    def decorated(event: Event, ctx: Any) -> Any:
        return work(event, ctx)

    assert run(loop, decorated).result == loop.thread_id


def test_a_handler_that_is_cancelled_from_outside_ends_as_cancelled(loop: HandlerLoop) -> None:
    inside, seen = threading.Event(), threading.Event()

    @handler(on=Event)
    async def waits(event: Event, ctx: Any) -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.set()

    future = loop.submit(loop.execute(waits, EVENT, CTX))
    assert inside.wait(PATIENCE)
    assert future.cancel()
    assert seen.wait(PATIENCE)


def test_the_end_cancels_what_still_runs(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    inside, seen = threading.Event(), threading.Event()

    @handler(on=Event)
    async def waits(event: Event, ctx: Any) -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.set()

    loop = HandlerLoop(factory)
    loop.start()
    future = loop.submit(loop.execute(waits, EVENT, CTX))
    assert inside.wait(PATIENCE)
    assert loop.stop(PATIENCE)
    assert seen.is_set()
    assert future.cancelled()
    assert loop.loop.is_closed()
    assert loop.stop(PATIENCE)  # a second time is no harm


def test_a_handler_that_blocks_the_loop_does_not_hold_up_the_end_for_longer_than_said(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    inside, release = threading.Event(), threading.Event()

    @handler(on=Event)
    async def blocks(event: Event, ctx: Any) -> None:
        inside.set()
        release.wait(PATIENCE)

    loop = HandlerLoop(factory)
    loop.start()
    loop.submit(loop.execute(blocks, EVENT, CTX))
    assert inside.wait(PATIENCE)
    assert not loop.stop(0.02)
    release.set()
    loop._thread.join(PATIENCE)
    assert loop.stop(PATIENCE)
    assert loop.loop.is_closed()


def test_a_plain_handler_that_outlives_the_loop_ends_without_a_word(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    inside, release = threading.Event(), threading.Event()
    changes: list[int] = []

    @handler(on=Event)
    def blocks(event: Event, ctx: Any) -> None:
        inside.set()
        release.wait(PATIENCE)

    loop = HandlerLoop(factory, changes.append)
    loop.start()
    loop.submit(loop.execute(blocks, EVENT, CTX))
    assert inside.wait(PATIENCE)
    assert loop.stop(PATIENCE)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "handler-blocks"]
    release.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert changes == [1]


def test_a_plain_handler_has_a_thread_to_itself_and_the_next_run_of_it_uses_that_again(loop: HandlerLoop) -> None:
    inside, release = threading.Barrier(3), threading.Event()

    @handler(on=Event)
    def one_of_many(event: Event, ctx: Any) -> int:
        inside.wait(PATIENCE)
        release.wait(PATIENCE)
        return threading.get_ident()

    @handler(on=Event)
    def other(event: Event, ctx: Any) -> int:
        return threading.get_ident()

    beside = [loop.submit(loop.execute(one_of_many, EVENT, CTX)) for _ in range(3)]
    release.set()
    first = {future.result(PATIENCE).result for future in beside}
    assert len(first) == 3
    again = [loop.submit(loop.execute(one_of_many, EVENT, CTX)) for _ in range(3)]
    assert {future.result(PATIENCE).result for future in again} == first
    assert run(loop, other).result not in first


def test_an_idle_thread_of_a_plain_handler_ends(loop: HandlerLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.engine.threads.IDLE_SECONDS", 0.0)
    threads = []

    @handler(on=Event)
    def work(event: Event, ctx: Any) -> None:
        threads.append(threading.current_thread())

    for _ in range(2):
        run(loop, work)
        threads[-1].join(PATIENCE)
        assert not threads[-1].is_alive()
    assert threads[0] is not threads[1]


def test_the_end_of_the_loop_ends_idle_threads(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    threads = []

    @handler(on=Event)
    def work(event: Event, ctx: Any) -> None:
        threads.append(threading.current_thread())

    loop = HandlerLoop(factory)
    loop.start()
    run(loop, work)
    assert loop.stop(PATIENCE)
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


def test_a_loop_that_was_never_started_stops_without_a_word() -> None:
    loop = HandlerLoop(asyncio.new_event_loop)
    assert loop.stop(PATIENCE)
    assert loop.loop.is_closed()


def test_of_a_plain_handler_that_does_not_return_no_more_threads_are_left_behind_than_a_bound(
    factory: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.engine.runner.MAX_HANGING_THREADS", 2)
    go, entered, changes = threading.Event(), threading.Semaphore(0), queue.SimpleQueue[int]()

    @handler(on=Event)
    def hangs(event: Event, ctx: Any) -> str:
        entered.release()
        assert go.wait(PATIENCE)
        return "at last"

    @handler(on=Event)
    def other(event: Event, ctx: Any) -> str:
        return "other"

    loop = HandlerLoop(factory, changes.put)
    loop.start()
    for _ in range(2):
        attempt = loop.submit(loop.execute(hangs, EVENT, CTX))
        assert entered.acquire(timeout=PATIENCE)
        attempt.cancel()  # as when it is timed out
        assert changes.get(timeout=PATIENCE) == 1

    refused = run(loop, hangs)
    assert (refused.word, getattr(refused.error, "reason", None)) == ("failed", "handler_hangs")
    assert not entered.acquire(blocking=False)
    assert run(loop, other).result == "other"

    go.set()
    assert changes.get(timeout=PATIENCE) == -1
    assert run(loop, hangs).result == "at last"
    assert changes.get(timeout=PATIENCE) == -1
    assert loop.stop(PATIENCE)
