"""The handlers' loop, of each kind that it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from receiver.engine.event_loops import new_handlers_loop
from receiver.engine.runner import HandlerLoop
from tests.patience import PATIENCE


@pytest.fixture(params=[asyncio.new_event_loop, new_handlers_loop], ids=["asyncio", "fastest"])
def factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def loop(factory: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[HandlerLoop]:
    loop = HandlerLoop(factory)
    loop.start()
    yield loop
    assert loop.stop(PATIENCE)
