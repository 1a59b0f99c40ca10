"""Deferred calls are made in order, together, and soon even if nobody runs them."""

from __future__ import annotations

import asyncio

import pytest

from receiver.telemetry.deferred import DeferredCalls
from tests.integration.intake_support import logged
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio


async def test_calls_are_made_at_the_run_in_their_order_and_once() -> None:
    made: list[int] = []
    deferred = DeferredCalls()
    for number in (1, 2, 3):
        deferred.add(made.append, number)
    assert made == []
    deferred.run()
    deferred.run()
    assert made == [1, 2, 3]


async def test_a_call_is_made_even_if_nobody_runs_it() -> None:
    made = asyncio.Event()
    DeferredCalls().add(made.set)
    async with asyncio.timeout(PATIENCE):
        await made.wait()


async def test_a_call_that_raises_is_logged_and_stops_no_other() -> None:
    made: list[int] = []
    deferred = DeferredCalls()
    with logged() as lines:
        deferred.add(made.__getitem__, 7)
        deferred.add(made.append, 1)
        deferred.run()
        assert made == [1]
        [line] = lines.of("dispatch.broken")
    assert "IndexError" in line["exception"]
