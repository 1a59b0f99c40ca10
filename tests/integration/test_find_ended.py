"""What the service manager's watchdog goes by: parts that have ended for good, and nothing of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.assembly.receiver import build_receiver
from receiver.cli.serve import find_ended
from receiver.model.role import Role
from tests.integration.intake_support import completed, configured, running, started
from tests.patience import PATIENCE
from tests.stores import file_of

pytestmark = pytest.mark.anyio

POLLED = {"aitts": {"provider": "aitts", "api_key": "an-api-key-0123456789"}}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_store_that_is_away_is_no_reason_for_a_restart(tmp_path: Path) -> None:
    async with running(configured(tmp_path)) as up:
        assert find_ended(up.receiver) is None
        store = file_of(up.receiver.database)
        away = store.rename(store.with_name("away"))
        async with asyncio.timeout(PATIENCE):
            while (await up.client.get("/readyz")).status_code != 503:  # a commit of the last second still counts
                await asyncio.sleep(0.01)
        assert find_ended(up.receiver) is None
        away.rename(store)


async def test_a_dispatcher_that_has_ended_is(tmp_path: Path) -> None:
    async with running(configured(tmp_path)) as up:
        up.receiver.dispatcher._loops[0].cancel()  # nothing that can be asked of it ends it alone
        await until(lambda: find_ended(up.receiver) == "dispatcher")


async def test_a_poller_that_has_ended_is(tmp_path: Path) -> None:
    async with running(configured(tmp_path, sources=POLLED)) as up:
        await up.receiver.loops["aitts"].stop()
        await until(lambda: find_ended(up.receiver) == "poller of aitts")


async def test_parts_that_an_intake_does_not_start_have_not_ended(tmp_path: Path) -> None:
    receiver = build_receiver(configured(tmp_path, sources=POLLED), role=Role.INTAKE)
    async with started(receiver) as up:
        assert find_ended(receiver) is None
        ready = await up.client.get("/readyz")
        assert (ready.status_code, ready.json()["missing"]) == (200, {})


async def test_a_store_writer_that_has_ended_is(tmp_path: Path) -> None:
    async with running(configured(tmp_path)) as up:
        up.receiver.database._writer._queue.put(None)  # likewise
        await until(lambda: find_ended(up.receiver) == "store writer")
        delivered = await up.post(completed())
        assert delivered.status_code == 503
        ready = await up.client.get("/readyz")
        assert (ready.status_code, list(ready.json()["missing"])) == (503, ["store"])
