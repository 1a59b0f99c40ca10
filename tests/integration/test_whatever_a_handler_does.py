"""Whatever a handler raises or returns ends its run at once, with its own error; the process and its loops go on."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from receiver import Context, Event, JobCompleted, JobFailed, RetryLater, handler
from tests.integration.engine_support import Engine, engine
from tests.integration.intake_support import Lines, logged
from tests.patience import PATIENCE
from tests.stores import Store, execute

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

Ctx = Context[Any]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


class ForeignError(BaseException):
    """None of ours, and no Exception."""


class MuteError(Exception):
    """Its text ends the program."""

    def __str__(self) -> str:
        raise SystemExit("no words")

    __repr__ = __str__


class MuteExit(SystemExit):
    __str__ = MuteError.__str__
    __repr__ = MuteError.__str__


class HalfMade(RetryLater):
    def __init__(self) -> None:
        pass


class SlyText(str):
    __slots__ = ()

    def __getitem__(self, key: Any) -> str:
        raise ForeignError("it cannot be cut")


class SlyError(Exception):
    def __str__(self) -> str:
        return SlyText("sly")


RAISED: dict[str, tuple[BaseException, str]] = {
    "generator exit": (GeneratorExit("left"), "GeneratorExit: left"),
    "group": (
        BaseExceptionGroup("many", [KeyboardInterrupt(), ValueError(1)]),
        "BaseExceptionGroup: many (2 sub-exceptions)",
    ),
    "foreign": (ForeignError("mine"), "ForeignError: mine"),
    "exit": (SystemExit("enough"), "SystemExit: enough"),
    "interrupt": (KeyboardInterrupt("enough"), "KeyboardInterrupt: enough"),
    "cancelled": (asyncio.CancelledError("mine"), "CancelledError: mine"),
    "end of async iteration": (StopAsyncIteration("last"), "StopAsyncIteration: last"),
    "mute": (MuteError(), "MuteError"),
    "mute exit": (MuteExit(), "MuteExit"),
    "half made": (HalfMade(), "HalfMade"),
    "sly": (SlyError(), "SlyError: sly"),
    "huge": (ValueError("x" * 10_000_000), "ValueError: " + "x" * 1987 + "…"),
}


async def ends_with(up: Engine, text: str) -> None:
    """One event fails at once with this error; the next one finds everything at work."""
    up.new("job_1")
    await up.until(up.attempts)
    assert up.attempts() == [(1, "failed")]
    assert (up.run()["state"], up.run()["error"]) == ("pending", text)
    up.new("job_2", type="job.failed")
    await up.until_state("succeeded")
    assert up.dispatcher.alive


@handler(on=JobFailed)
async def after(event: Event, ctx: Ctx) -> None: ...


@pytest.mark.parametrize("name", RAISED)
@pytest.mark.parametrize("kind", ["async", "plain", "task"])
async def test_whatever_a_handler_raises_ends_its_run_at_once(store: Store, lines: Lines, name: str, kind: str) -> None:
    error, text = RAISED[name]

    async def fail() -> None:
        raise error

    async def work_async(event: Event, ctx: Ctx) -> None:
        raise error

    async def work_task(event: Event, ctx: Ctx) -> None:
        await asyncio.ensure_future(fail())

    def work_plain(event: Event, ctx: Ctx) -> None:
        raise error

    work = handler(on=JobCompleted, name="work")({"async": work_async, "plain": work_plain, "task": work_task}[kind])
    async with engine(store, work, after) as up:
        await ends_with(up, text)


async def test_the_end_of_an_iterator_ends_a_plain_handlers_run_at_once(store: Store) -> None:
    @handler(on=JobCompleted)
    def work(event: Event, ctx: Ctx) -> None:
        raise StopIteration("last")

    async with engine(store, work, after) as up:
        await ends_with(up, "StopIteration: last")


async def test_the_end_of_an_iterator_in_a_thread_of_a_handlers_own_is_raised_where_it_waits(store: Store) -> None:
    def last() -> Any:
        return next(iter([]))

    @handler(on=JobCompleted)
    async def work(event: Event, ctx: Ctx) -> None:
        await asyncio.to_thread(last)

    async with engine(store, work, after) as up:
        up.new("job_1")
        await up.until(up.attempts)
        assert "raised StopIteration" in up.run()["error"]


async def test_a_recursion_without_end_is_an_error_with_a_bounded_trace(store: Store, lines: Lines) -> None:
    def deeper(n: int) -> int:
        return deeper(n + 1) + deeper(n + 2)

    @handler(on=JobCompleted)
    def work(event: Event, ctx: Ctx) -> None:
        deeper(0)

    async with engine(store, work, after) as up:
        await ends_with(up, "RecursionError: maximum recursion depth exceeded")
    [line] = lines.of("run.failed")
    assert "in deeper" in line["exception"]
    assert len(line["exception"]) < 30_000


async def test_a_handler_that_cancels_its_own_task_has_failed_and_is_not_given_back(store: Store) -> None:
    @handler(on=JobCompleted)
    async def work(event: Event, ctx: Ctx) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.Event().wait()

    async with engine(store, work, after) as up:
        await ends_with(up, "CancelledError: ")


async def test_a_handler_that_stops_the_loop_does_not_stop_it(store: Store) -> None:
    @handler(on=JobCompleted)
    async def work(event: Event, ctx: Ctx) -> None:
        asyncio.get_running_loop().stop()
        raise ValueError("stopped")

    async with engine(store, work, after) as up:
        await ends_with(up, "ValueError: stopped")


async def test_an_error_whose_text_does_not_end_holds_up_only_its_own_run(store: Store) -> None:
    requested, release = threading.Event(), threading.Event()

    class EndlessError(Exception):
        def __str__(self) -> str:
            requested.set()
            assert release.wait(PATIENCE * 2)
            return "at last"

    @handler(on=JobCompleted, timeout=0.2)
    def work(event: Event, ctx: Ctx) -> None:
        raise EndlessError

    async with engine(store, work, after) as up:
        up.new("job_1")
        await up.until(up.attempts)
        assert requested.is_set()
        assert up.attempts() == [(1, "timeout")]
        up.new("job_2", type="job.failed")
        await up.until_state("succeeded")
        release.set()


# results


class Endless(Mapping[str, int]):
    """A mapping that has no end."""

    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return (str(n) for n in itertools.count())

    def __len__(self) -> int:
        return 1


class OwnList(list[int]):
    def __iter__(self) -> Iterator[int]:
        return itertools.count()


class Unspeakable:
    def __repr__(self) -> str:
        raise SystemExit("no words")


@dataclass
class Line:
    text: str
    next: Any = None


class Model(pydantic.BaseModel):
    name: str
    size: int = 3


def deep(levels: int) -> list[Any]:
    outer: list[Any] = []
    for _ in range(levels):
        outer = [outer]
    return outer


def held_by_itself() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["a"] = [found]
    return found


def line_of_itself() -> Line:
    found = Line("a")
    found.next = found
    return found


@pytest.mark.parametrize(
    ("returned", "kept"),
    [
        (itertools.count(), "count(0)"),
        ({"rows": itertools.repeat(1)}, {"rows": "repeat(1)"}),
        (Endless(), {"truncated": True, "values": 10_001}),
        (OwnList([1, 2]), [1, 2]),
        (list(range(1_000_000)), {"truncated": True, "values": 10_001}),
        (["x" * 997] * 100, {"truncated": True, "bytes": 66_002}),
        (deep(100_000), {"truncated": True, "depth": 101}),
        (held_by_itself(), {"not_json": "dict", "reason": "ValueError"}),
        (line_of_itself(), {"not_json": "Line", "reason": "ValueError"}),
        (Unspeakable(), {"not_json": "Unspeakable", "reason": "SystemExit"}),
        (10**5000, {"truncated": True, "bits": 16_610}),
        (b"\0" * 100_000_000, {"truncated": True, "bytes": 100_000_002}),
        ([Line("a", Model(name="b")), {1: None}], [{"text": "a", "next": {"name": "b", "size": 3}}, {"1": None}]),
    ],
    ids=[
        "endless", "endless inside", "endless mapping", "own iteration", "many", "large", "deep", "circle",
        "own circle", "mute", "number", "bytes", "objects",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_a_result_is_bounded_whatever_it_is(store: Store, returned: Any, kept: Any, kind: str) -> None:
    async def work_async(event: Event, ctx: Ctx) -> Any:
        return returned

    def work_plain(event: Event, ctx: Ctx) -> Any:
        return returned

    work = handler(on=JobCompleted, name="work")(work_async if kind == "async" else work_plain)
    async with engine(store, work) as up:
        up.new("job_1")
        await up.until_state("succeeded")
        assert up.run()["result"] == kept


async def test_an_iterator_that_was_returned_is_not_consumed(store: Store) -> None:
    taken: list[int] = []

    def rows() -> Iterator[int]:
        for n in itertools.count():
            taken.append(n)
            yield n

    @handler(on=JobCompleted)
    async def work(event: Event, ctx: Ctx) -> Any:
        return rows()

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until_state("succeeded")
        assert taken == []
        assert up.run()["result"].startswith("<generator object")


# the dispatcher's own faults


@pytest.mark.sqlite  # others keep references whole
async def test_claims_go_on_after_a_fault(store: Store, lines: Lines) -> None:
    async with engine(store, after, start=False) as up:  # else its first turn may claim the run before
        up.add("job_1", type="job.failed")
        execute(store, "DELETE FROM events")  # a row that no claim can read
        await up.start()
        await up.until(lambda: lines.of("dispatch.broken"))
        execute(store, "DELETE FROM runs")
        up.add("job_2", type="job.failed")
        up.clock.advance(1)
        await up.until_state("succeeded")
        assert up.dispatcher.alive
        [line, *_] = lines.of("dispatch.broken")
        assert "KeyError" in line["exception"]
