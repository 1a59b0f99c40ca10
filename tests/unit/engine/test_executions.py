"""Attempts are timed out each at its own time, by one timer for all of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from receiver import Context, Event, handler
from receiver.clock import SystemClock
from receiver.engine.executions import Executions, FinishedAttempt
from receiver.engine.handler import Handler
from receiver.engine.outcome import Outcome
from receiver.engine.plugins import ActiveHandler, Registry
from receiver.store.claims import Claim
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

HOUR = 3600.0
SECONDS = {"long": HOUR, "third": 0.03, "first": 0.01, "second": 0.02}


def hanging(name: str, timeout: float) -> Handler:
    @handler(on=Event, name=name, timeout=timeout)
    async def hang(event: Event, ctx: Context[Any]) -> None: ...

    return hang


def claim(handler: str, attempt: int = 1) -> Claim:
    return Claim("evt_1", handler, attempt, attempt, 0.0, 1.0, {})


class Turning:
    """A loop that is not blocked."""

    blocked = None

    def find_blocker(self) -> None:
        return None


class Work:
    """Executions whose handlers never return but those named `quick`, on this loop; what has ended."""

    def __init__(self) -> None:
        active = {
            name: ActiveHandler(hanging(name, seconds), None, "here")
            for name, seconds in {**SECONDS, "quick": HOUR, "broken": HOUR}.items()
        }
        self.ended: list[FinishedAttempt] = []
        self.calls: list[Coroutine[Any, Any, Outcome]] = []
        self.changed = asyncio.Event()
        self.executions = Executions(
            Registry(active), self.execute, asyncio.get_running_loop(), watch=Turning(), clock=SystemClock(),
            ended=self.end,
        )  # fmt: skip

    def execute(self, claim: Claim) -> Coroutine[Any, Any, Outcome]:
        if claim.handler == "broken":
            raise ValueError("its event cannot be read")

        async def run() -> Outcome:
            if claim.handler != "quick":
                await asyncio.get_running_loop().create_future()
            return Outcome("succeeded")

        self.calls.append(run())
        return self.calls[-1]

    def end(self, ended: list[FinishedAttempt]) -> None:
        self.ended += ended
        self.changed.set()

    def start(self, *handlers: str, attempt: int = 1) -> None:
        self.executions.start(0, [claim(name, attempt) for name in handlers])

    async def until_ended(self, number: int) -> list[tuple[str, str]]:
        async with asyncio.timeout(PATIENCE):
            while len(self.ended) < number:
                self.changed.clear()
                await self.changed.wait()
        return [(ended.claim.handler, ended.outcome.word) for ended in self.ended]


@pytest.fixture
async def work() -> AsyncIterator[Work]:
    work = Work()
    yield work
    work.executions.release_all()


async def test_each_attempt_is_timed_out_at_its_own_time(work: Work) -> None:
    work.start(*SECONDS)
    assert await work.until_ended(3) == [("first", "timeout"), ("second", "timeout"), ("third", "timeout")]
    assert +work.executions.running == {"long": 1}


async def test_an_attempt_that_starts_later_and_has_less_time_is_timed_out_first(work: Work) -> None:
    work.start("long")
    work.start("third")
    assert await work.until_ended(1) == [("third", "timeout")]
    work.start("first", attempt=2)
    assert await work.until_ended(2) == [("third", "timeout"), ("first", "timeout")]


async def test_many_attempts_that_end_in_time_leave_one_timer(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        if when - loop.time() > HOUR / 2:
            timers.append(when)
        return call_at(when, *args, **options)

    monkeypatch.setattr(loop, "call_at", counted)
    for attempt in range(1, 51):
        work.start("quick", attempt=attempt)
        await work.until_ended(attempt)
    assert len(timers) == 1


async def test_prepared_calls_are_those_that_start(work: Work) -> None:
    claims = [claim("quick"), claim("third")]
    work.executions.prepare(0, claims)
    assert len(work.calls) == 2
    work.executions.start(0, claims)
    assert await work.until_ended(2) == [("quick", "succeeded"), ("third", "timeout")]
    assert len(work.calls) == 2


async def test_prepared_calls_whose_claims_were_not_committed_are_closed(work: Work) -> None:
    work.executions.prepare(0, [claim("long")])
    work.executions.prepare(0, [claim("quick")])  # the transaction was repeated
    assert [inspect.getcoroutinestate(call) for call in work.calls] == ["CORO_CLOSED", "CORO_CREATED"]
    work.executions.discard_prepared(0)
    assert [inspect.getcoroutinestate(call) for call in work.calls] == ["CORO_CLOSED", "CORO_CLOSED"]
    assert not work.executions.running


async def test_a_call_that_cannot_be_made_fails_its_attempt_alone(work: Work) -> None:
    claims = [claim("broken"), claim("quick")]
    work.executions.prepare(0, claims)
    work.executions.start(0, claims)
    assert sorted(await work.until_ended(2)) == [("broken", "failed"), ("quick", "succeeded")]
