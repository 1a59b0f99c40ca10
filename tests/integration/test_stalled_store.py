"""A store that does not finish its transaction: deliveries get 503 after a while, and count once when it goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from receiver.web import public
from tests.integration.engine_support import Signal
from tests.integration.intake_support import Lines, Running, completed, configured, running
from tests.patience import PATIENCE
from tests.stores import execute

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def stalled(up: Running) -> AsyncIterator[None]:
    """The writer's thread is in a transaction that does not end, as when the disk hangs."""
    go = threading.Event()
    held = asyncio.ensure_future(up.receiver.database.write(lambda _: go.wait(PATIENCE)))
    try:
        yield
    finally:
        go.set()
        assert await held


async def test_a_delivery_that_waits_too_long_gets_503_and_its_repetition_is_a_duplicate_if_it_is_committed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Lines, signal: Signal
) -> None:
    monkeypatch.setattr(public, "MAX_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(public, "CHECK_SECONDS", 0.01)
    async with running(configured(tmp_path)) as up:
        async with stalled(up):
            refused = await asyncio.wait_for(up.post(completed("job_1")), PATIENCE)
            assert (refused.status_code, refused.json()) == (503, {"error": "unavailable"})
            assert int(refused.headers["retry-after"]) > 0
            assert up.rows() == []
        monkeypatch.setattr(public, "MAX_WAIT_SECONDS", PATIENCE)
        await signal.until(lambda: lines.of("run.succeeded"))
        again = await up.post(completed("job_1"))
        assert (again.status_code, again.json()["status"]) == (202, "duplicate")
        assert (up.counted("store_stalled"), up.counted("duplicate"), up.counted("accepted")) == (1, 1, 0)
        [row] = up.rows()
        assert row["duplicates"] == 1
    [not_stored] = lines.of("delivery.not_stored")
    assert not_stored["outcome"] == "store_stalled"
    [late] = lines.of("delivery.stored_late")
    assert (late["event"], late["job"]) == (row["id"], "job_1")
    assert up.receiver.public._intakes["/webhooks/aitts"]._refused_before_commit == set()


async def test_a_delivery_that_waited_too_long_and_is_not_committed_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    monkeypatch.setattr(public, "MAX_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(public, "CHECK_SECONDS", 0.01)
    async with running(configured(tmp_path)) as up:
        fails = "CREATE TRIGGER fails BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'fails'); END"
        execute(up.receiver.database, fails)
        async with stalled(up):
            assert (await asyncio.wait_for(up.post(completed("job_1")), PATIENCE)).status_code == 503
        await up.receiver.database.write(lambda _: None)
        await asyncio.sleep(0)
        assert up.rows() == []
    assert len(lines.of("delivery.not_stored")) == 1
    assert lines.of("delivery.stored_late") == []
