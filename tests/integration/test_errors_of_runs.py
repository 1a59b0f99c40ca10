"""Why an attempt failed is stored with its run: a kind, a reason, and the last traceback."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from receiver import Context, Event, Reject, RetryLater, handler
from receiver.store import runs
from tests.integration.engine_support import SECRET, Engine, engine
from tests.stores import Store, query

pytestmark = [pytest.mark.anyio, pytest.mark.every_database]

Ctx = Context[Any]


def why(up: Engine) -> tuple[str | None, str | None]:
    return up.run()["error_kind"], up.run()["reason"]


def whys_of_attempts(store: Store) -> list[tuple[str | None, str | None]]:
    rows = query(store, "SELECT error_kind, reason FROM attempts ORDER BY number")
    return [(row["error_kind"], row["reason"]) for row in rows]


def tracebacks(store: Store) -> list[tuple[int, str]]:
    return [(row["attempt"], row["text"]) for row in query(store, "SELECT attempt, text FROM run_tracebacks")]


async def test_the_reason_of_a_rejection_is_stored_as_a_word_without_secrets(store: Store) -> None:
    @handler(on=Event)
    async def work(event: Event, ctx: Ctx) -> None:
        raise Reject("there is no such voice", reason=f"no voice: {SECRET}")

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until_state("dead")
        assert why(up) == ("rejected", "no_voice_redacted_")
        assert whys_of_attempts(store) == [why(up)]
        assert tracebacks(store) == [], "the handler said it on purpose"


async def test_the_traceback_of_the_last_attempt_that_had_one_is_kept_without_secrets(store: Store) -> None:
    @handler(on=Event, attempts=9)
    async def work(event: Event, ctx: Ctx) -> str:
        if ctx.attempt <= 2:
            raise ValueError(f"attempt {ctx.attempt} with {SECRET}\0")
        if ctx.attempt == 3:
            raise RetryLater("the service is down", after=1, reason="down")
        return "done"

    async with engine(store, work) as up:
        up.new("job_1")
        for attempt, expected in ((1, ("ValueError", None)), (2, ("ValueError", None)), (3, ("retry_later", "down"))):
            await up.until(lambda attempt=attempt: len(up.attempts()) == attempt and up.is_idle)
            assert why(up) == expected
            [(number, text)] = tracebacks(store)
            assert number == min(attempt, 2)
            assert text.startswith("Traceback (most recent call last):\n")
            assert text.endswith(f"ValueError: attempt {number} with [redacted]\\x00")
            up.clock.advance(3600)
            up.dispatcher.wake()
        await up.until_state("succeeded")
        assert why(up) == (None, None)
        assert whys_of_attempts(store) == [
            ("ValueError", None), ("ValueError", None), ("retry_later", "down"), (None, None),
        ]  # fmt: skip
        [(number, _)] = tracebacks(store)
        assert number == 2


async def test_a_replay_begins_without_a_kind_and_a_cancelled_run_has_one(store: Store) -> None:
    @handler(on=Event, attempts=1)
    async def work(event: Event, ctx: Ctx) -> None:
        raise KeyError("voice")

    async with engine(store, work) as up:
        [event_id] = up.new("job_1")
        await up.until_state("dead")
        assert why(up) == ("KeyError", None)
        await up.stop()
        up.database.transact(runs.replay, [(event_id, "work")], up.clock.now())
        assert why(up) == (None, None)
        up.database.transact(runs.cancel, [(event_id, "work")], up.clock.now())
        assert why(up) == ("cancelled", None)


async def test_a_timeout_is_a_kind(store: Store) -> None:
    @handler(on=Event, attempts=1, timeout=0.05)
    async def work(event: Event, ctx: Ctx) -> None:
        await asyncio.Event().wait()

    async with engine(store, work) as up:
        up.new("job_1")
        await up.until_state("dead")
        assert why(up) == ("timeout", None)
