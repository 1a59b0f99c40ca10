"""One store and its loops for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.engine_support import fresh_store
from tests.integration.intake_support import Lines, logged
from tests.unit.engine.jobs.support import KEY, Polling, polling


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fresh_store(tmp_path / "receiver.db")


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged(secrets=(KEY,)) as lines:
        yield lines


@pytest.fixture
async def up(store: Path) -> AsyncIterator[Polling]:
    async with polling(store) as it:
        yield it
