"""The first request to the API builds it, while the loop goes on with other work, such as deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.api_support import Api, api
from tests.integration.intake_support import configured

pytestmark = pytest.mark.anyio

MANY_TURNS = 50
"""More than the loop takes to answer a request."""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Api]:
    async with api(configured(tmp_path)) as made:
        yield made


async def test_the_loop_goes_on_while_the_first_request_builds_the_api(client: Api) -> None:
    turns = [0, 0]

    async def count(request: int) -> None:
        while True:
            turns[request] += 1
            await asyncio.sleep(0)

    for request in range(2):
        counting = asyncio.ensure_future(count(request))
        assert (await client.get("/openapi.json")).status_code == 200
        counting.cancel()
    first, later = turns
    assert first > later + MANY_TURNS


async def test_requests_at_once_are_answered_by_one_api_also_if_the_first_is_cancelled(client: Api) -> None:
    first = asyncio.ensure_future(client.get("/openapi.json"))
    others = [asyncio.ensure_future(client.get("/openapi.json")) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    assert [answer.status_code for answer in await asyncio.gather(*others)] == [200] * 3
