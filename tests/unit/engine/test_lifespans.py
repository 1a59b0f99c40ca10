"""A handler's lifespan: entered once before its first run, exited when the handlers' loop stops, each in one task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest
import structlog

from receiver import Context, Event, PluginError, Reject, handler
from receiver.engine import lifespans
from receiver.engine.handler import Handler
from receiver.engine.outcome import Outcome
from receiver.engine.runner import HandlerLoop
from receiver.testing import completed, run_handler
from tests.patience import PATIENCE

EVENT = completed()
tracing: ContextVar[str] = ContextVar("tracing", default="")


def context(loop: HandlerLoop, options: Any = None) -> Context[Any]:
    services: Any = None
    return Context(handler="h", attempt=1, idempotency_key="", options=options, _event=EVENT, _services=services)


def begin(loop: HandlerLoop, made: Handler, options: Any = None) -> Future[Outcome]:
    return loop.submit(loop.execute(made, EVENT, context(loop, options)))


def run(loop: HandlerLoop, made: Handler, options: Any = None) -> Outcome:
    return begin(loop, made, options).result(PATIENCE)


class Service:
    """What lifespans open; says what happened to it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.gate = threading.Event()

    @asynccontextmanager
    async def connect(self, options: Any) -> AsyncIterator[str]:
        self.tasks.append(asyncio.current_task())
        self.said.append(f"enter {options}")
        while self.said[0] == "wait" and not self.gate.is_set():
            await asyncio.sleep(0.001)
        yield f"connection {options}"
        self.tasks.append(asyncio.current_task())
        self.said.append(f"exit {options}")


def using(service: Service, name: str = "uses") -> Handler:
    @handler(on=Event, name=name, lifespan=service.connect)
    async def uses(event: Event, ctx: Context[Any, str]) -> str:
        return ctx.state

    return uses


def test_runs_share_one_entry_and_it_is_exited_in_the_task_that_entered_it(factory: Any) -> None:
    service = Service()
    loop = HandlerLoop(factory)
    loop.start()
    uses = using(service)
    assert [run(loop, uses, "a").result for _ in range(3)] == ["connection a"] * 3
    other = replace(uses, name="other")
    assert run(loop, other, "b").result == "connection b", "each table has its own"
    assert service.said == ["enter a", "enter b"]
    assert loop.stop(PATIENCE)
    assert sorted(service.said) == ["enter a", "enter b", "exit a", "exit b"]
    assert len({id(task) for task in service.tasks}) == 2
    assert {task.get_name() for task in service.tasks if task} == {"handler:uses", "handler:other"}


def test_concurrent_first_runs_wait_for_one_entry(loop: HandlerLoop) -> None:
    service = Service()
    service.said.append("wait")
    runs = [begin(loop, using(service)) for _ in range(5)]
    service.gate.set()
    assert [future.result(PATIENCE).result for future in runs] == ["connection None"] * 5
    assert service.said == ["wait", "enter None"]


def test_a_plain_handler_gets_the_value_too(loop: HandlerLoop) -> None:
    service = Service()

    @handler(on=Event, lifespan=service.connect)
    def plain(event: Event, ctx: Context[Any, str]) -> str:
        return f"{ctx.state} in {threading.current_thread().name}"

    assert run(loop, plain).result == "connection None in handler-plain"


def test_without_a_lifespan_there_is_no_state(loop: HandlerLoop) -> None:
    @handler(on=Event)
    async def none(event: Event, ctx: Context[Any]) -> bool:
        return ctx.state is None

    assert run(loop, none).result is True


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError("no broker"), "failed"),
        (Reject("no account"), "rejected"),
        (SystemExit(3), "failed"),
        (asyncio.CancelledError("odd"), "failed"),
    ],
)
def test_if_entering_fails_so_does_the_attempt_and_the_next_one_enters_again(
    loop: HandlerLoop, error: BaseException, word: str
) -> None:
    class Connect:
        failures = 1

        async def __aenter__(self) -> str:
            if Connect.failures:
                Connect.failures -= 1
                raise error
            return "there"

        async def __aexit__(self, *raised: object) -> None: ...

    @handler(on=Event, lifespan=lambda options: Connect())
    async def uses(event: Event, ctx: Context[Any, str]) -> str:
        return ctx.state

    outcome = run(loop, uses)
    assert (outcome.word, outcome.error) == (word, error)
    assert run(loop, uses).result == "there"


def test_what_is_no_context_manager_fails_the_attempt_with_the_reason(loop: HandlerLoop) -> None:
    @handler(on=Event, lifespan=lambda options: object())  # type: ignore[arg-type, return-value]
    async def uses(event: Event, ctx: Context[Any]) -> None: ...

    assert "does not support the asynchronous context manager protocol" in run(loop, uses).text


def test_an_entry_that_nobody_waits_for_any_more_is_cancelled_and_begun_anew(loop: HandlerLoop) -> None:
    entering, cancelled = threading.Event(), threading.Event()
    entries: list[int] = []

    @asynccontextmanager
    async def connect(options: Any) -> AsyncIterator[str]:
        entries.append(1)
        if len(entries) == 1:
            entering.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
        yield "there"

    @handler(on=Event, lifespan=connect)
    async def uses(event: Event, ctx: Context[Any, str]) -> str:
        return ctx.state

    first = begin(loop, uses)
    assert entering.wait(PATIENCE)
    first.cancel()
    assert cancelled.wait(PATIENCE)
    assert run(loop, uses).result == "there"


def test_a_lifespan_that_ends_by_itself_is_entered_again(loop: HandlerLoop) -> None:
    tasks: list[asyncio.Task[Any]] = []

    @asynccontextmanager
    async def connect(options: Any) -> AsyncIterator[int]:
        tasks.append(asyncio.current_task())  # type: ignore[arg-type]
        try:
            yield len(tasks)
        except asyncio.CancelledError as error:
            raise ConnectionError("the broker at amqp://u:secret-of-the-broker@host has gone") from error

    @handler(on=Event, lifespan=connect)
    async def uses(event: Event, ctx: Context[Any, int]) -> int:
        return ctx.state

    @handler(on=Event)
    async def breaks(event: Event, ctx: Context[Any]) -> None:
        tasks[0].cancel()  # as a task group does when one of its tasks has failed
        await asyncio.wait([tasks[0]])

    with structlog.testing.capture_logs() as lines:
        assert run(loop, uses).result == 1
        run(loop, breaks)
        assert run(loop, uses).result == 2
    assert [(line["event"], line["handler"], line["detail"]) for line in lines] == [
        ("handler.lifespan_ended", "uses", "ConnectionError: the broker at amqp://host has gone")
    ]


def test_its_tasks_and_threads_are_the_handlers_and_have_nothing_of_the_first_run(loop: HandlerLoop) -> None:
    seen: list[Any] = []

    @asynccontextmanager
    async def connect(options: Any) -> AsyncIterator[None]:
        async def inner() -> None:
            task: Any = asyncio.current_task()
            seen.extend([task.get_name(), task.run, tracing.get()])

        await asyncio.create_task(inner())
        seen.append(await asyncio.to_thread(lambda: threading.current_thread().name))
        yield

    @handler(on=Event, name="uses", lifespan=connect)
    async def uses(event: Event, ctx: Context[Any]) -> None: ...

    async def traced() -> Outcome:
        tracing.set("of the first run")
        return await loop.execute(uses, EVENT, context(loop))

    assert loop.submit(traced()).result(PATIENCE).word == "succeeded"
    assert seen == ["handler:uses", None, "", "handler-uses"]


def test_the_exit_waits_for_runs_that_were_cancelled_and_still_use_the_value(factory: Any) -> None:
    service = Service()
    loop = HandlerLoop(factory)
    loop.start()
    running = threading.Event()

    @handler(on=Event, lifespan=service.connect)
    async def uses(event: Event, ctx: Context[Any]) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            service.said.append("last use")

    future = begin(loop, uses)
    assert running.wait(PATIENCE)
    future.cancel()
    assert loop.stop(PATIENCE)
    assert service.said == ["enter None", "last use", "exit None"]


@pytest.mark.parametrize("kind", ["raises", "hangs", "hangs on and on"])
def test_a_lifespan_that_does_not_exit_is_named_and_holds_up_nothing(
    factory: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifespans, "EXIT_SECONDS", 0.05)
    service = Service()
    loop = HandlerLoop(factory)
    loop.start()

    @asynccontextmanager
    async def connect(options: Any) -> AsyncIterator[None]:
        yield
        if kind == "raises":
            raise OSError("the broker has gone")
        try:
            await asyncio.Event().wait()
        finally:
            if kind == "hangs on and on":
                await asyncio.Event().wait()

    @handler(on=Event, name="bad", lifespan=connect)
    async def bad(event: Event, ctx: Context[Any]) -> None: ...

    assert run(loop, using(service)).word == run(loop, bad).word == "succeeded"
    with structlog.testing.capture_logs() as lines:
        assert loop.stop(PATIENCE)
    assert "exit None" in service.said
    detail = "OSError: the broker has gone" if kind == "raises" else "not done after 0.05 s"
    assert [(line["event"], line["handler"], line["detail"]) for line in lines] == [
        ("handler.lifespan_not_exited", "bad", detail)
    ]


def test_a_test_of_a_handler_enters_and_exits_it() -> None:
    service = Service()
    outcome = run_handler(using(service), EVENT)
    assert outcome.result == "connection None"
    assert service.said == ["enter None", "exit None"]


@pytest.mark.parametrize("lifespan", ["connect", lambda: None, lambda a, b: None])
def test_what_takes_no_options_is_no_lifespan(lifespan: Any) -> None:
    with pytest.raises(PluginError, match="lifespan= takes a function of the options"):
        handler(on=Event, name="uses", lifespan=lifespan)(lambda event, ctx: None)
