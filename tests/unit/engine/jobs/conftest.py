"""One store and its loops for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.engine_support import fresh_store
from tests.integration.intake_support import Lines, logged
from tests.stores import Store
from tests.unit.engine.jobs.support import KEY, Polling, polling


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged(secrets=(KEY,)) as lines:
        yield lines


@pytest.fixture
async def up(store: Store) -> AsyncIterator[Polling]:
    async with polling(fresh_store(store)) as it:
        yield it
