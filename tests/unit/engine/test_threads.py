"""Blocking work on the handlers' loop: each handler's has threads of its own, and ours has others."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from receiver import Context, Event, handler
from receiver.engine.event_loops import new_handlers_loop
from receiver.engine.handler import Handler
from receiver.engine.runner import HandlerLoop
from receiver.engine.threads import MAX_THREADS_PER_HANDLER
from receiver.testing import completed
from tests.patience import PATIENCE

CTX: Any = None
EVENT = completed()

Ctx = Context[Any]


@pytest.fixture(params=[asyncio.new_event_loop, new_handlers_loop], ids=["asyncio", "fastest"])
def loop(request: pytest.FixtureRequest) -> Iterator[HandlerLoop]:
    loop = HandlerLoop(request.param)
    loop.start()
    yield loop
    assert loop.stop(PATIENCE)


class Blocked:
    """Work that blocks until it is let go; counts who is in it."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Semaphore(0)

    def __call__(self) -> None:
        self.entered.release()
        assert self.go.wait(PATIENCE)

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=PATIENCE)


def greedy(work: Callable[[], None], count: int, name: str | None = None) -> Handler:
    """Hands so much blocking work to asyncio's threads at once, from tasks that may have a name of their own."""

    @handler(on=Event)
    async def greedy(event: Event, ctx: Ctx) -> None:
        tasks = [asyncio.create_task(asyncio.to_thread(work), name=name) for _ in range(count)]
        await asyncio.gather(*tasks)

    return greedy


@handler(on=Event)
async def modest(event: Event, ctx: Ctx) -> str:
    return await asyncio.to_thread(lambda: threading.current_thread().name)


@pytest.mark.parametrize("name", [None, "a name of its own"])
def test_one_handlers_blocking_work_keeps_neither_anothers_nor_ours_waiting(
    loop: HandlerLoop, name: str | None
) -> None:
    blocked = Blocked()
    held = loop.submit(loop.execute(greedy(blocked, MAX_THREADS_PER_HANDLER + 8, name), EVENT, CTX))
    blocked.wait_for(MAX_THREADS_PER_HANDLER)

    assert loop.submit(loop.execute(modest, EVENT, CTX)).result(PATIENCE).result == "handler-modest"
    assert loop.submit(asyncio.to_thread(lambda: "ours")).result(PATIENCE) == "ours"

    blocked.go.set()
    assert held.result(PATIENCE).word == "succeeded"


def test_names_that_nobody_answers_for_hold_up_neither_another_handlers_nor_ours(
    loop: HandlerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked, look_up = Blocked(), socket.getaddrinfo

    def answers(host: str, *args: Any) -> Any:
        if host == "silent.test":
            blocked()
        return look_up("127.0.0.1", *args)

    monkeypatch.setattr(socket, "getaddrinfo", answers)

    async def resolve(host: str) -> str:
        found = await asyncio.get_running_loop().getaddrinfo(host, 80, type=socket.SOCK_STREAM)
        return str(found[0][4][0])

    @handler(on=Event)
    async def unlucky(event: Event, ctx: Ctx) -> None:
        await asyncio.gather(*(resolve("silent.test") for _ in range(16)))

    @handler(on=Event)
    async def lucky(event: Event, ctx: Ctx) -> str:
        return await resolve("provider.test")

    held = loop.submit(loop.execute(unlucky, EVENT, CTX))
    blocked.wait_for(16)
    assert loop.submit(loop.execute(lucky, EVENT, CTX)).result(PATIENCE).result == "127.0.0.1"
    assert loop.submit(resolve("provider.test")).result(PATIENCE) == "127.0.0.1"
    blocked.go.set()
    assert held.result(PATIENCE).word == "succeeded"


def test_what_others_wait_for_too_is_not_done_in_the_threads_of_the_handler_that_asks(loop: HandlerLoop) -> None:
    blocked = Blocked()

    @handler(on=Event)
    async def asks(event: Event, ctx: Ctx) -> str:
        work = asyncio.gather(*(asyncio.to_thread(blocked) for _ in range(MAX_THREADS_PER_HANDLER)))
        audio = await loop.run_shared(asyncio.to_thread(lambda: threading.current_thread().name))
        blocked.go.set()
        await work
        return audio

    outcome = loop.submit(loop.execute(asks, EVENT, CTX)).result(PATIENCE)
    assert outcome.result.startswith("handlers-our-own")


def test_a_plain_handler_that_waits_for_something_async_uses_its_own_threads(loop: HandlerLoop) -> None:
    @handler(on=Event)
    def plain(event: Event, ctx: Ctx) -> str:
        work = asyncio.to_thread(lambda: threading.current_thread().name)
        return asyncio.run_coroutine_threadsafe(work, loop.loop).result(PATIENCE)

    assert loop.submit(loop.execute(plain, EVENT, CTX)).result(PATIENCE).result == "handler-plain"


def test_an_exception_is_raised_where_the_work_is_waited_for(loop: HandlerLoop) -> None:
    def fails() -> None:
        raise ValueError("as it happens")

    @handler(on=Event)
    async def careful(event: Event, ctx: Ctx) -> str:
        try:
            await asyncio.to_thread(fails)
        except ValueError as error:
            return str(error)
        return "nothing"

    assert loop.submit(loop.execute(careful, EVENT, CTX)).result(PATIENCE).result == "as it happens"


def test_work_that_was_cancelled_while_it_waited_is_not_done(loop: HandlerLoop) -> None:
    blocked, done = Blocked(), threading.Event()

    @handler(on=Event)
    async def hasty(event: Event, ctx: Ctx) -> bool:
        work = [asyncio.create_task(asyncio.to_thread(blocked)) for _ in range(MAX_THREADS_PER_HANDLER)]
        late = asyncio.create_task(asyncio.to_thread(done.set))
        await asyncio.sleep(0)  # all of them have asked
        late.cancel()
        await asyncio.wait([late])
        blocked.go.set()
        await asyncio.gather(*work)
        await asyncio.to_thread(lambda: None)  # comes after it in the queue, if anything is left there
        return done.is_set()

    assert loop.submit(loop.execute(hasty, EVENT, CTX)).result(PATIENCE).result is False
