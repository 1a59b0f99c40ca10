"""The log of what a test starts, and a signal that each of its lines raises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.engine_support import Signal, telling
from tests.integration.intake_support import Lines, logged


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


@pytest.fixture
async def signal(lines: Lines) -> AsyncIterator[Signal]:
    """Raised with every line of the log."""
    signal = Signal()
    with telling(lines, signal):
        yield signal
