"""`/readyz` says what a delivery would meet: a full disk, a locked store, a damaged one, a `-wal` that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from receiver.engine import readiness
from receiver.errors import StoreMalformed
from receiver.store import health
from tests.faults import damage, fill, small_disk
from tests.integration.intake_support import Lines, Running, completed, configured, running
from tests.stores import WriteLock, file_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is a probe: no test waits until the next one is allowed."""
    monkeypatch.setattr(readiness, "PROBE_SECONDS", 0.0)


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(configured(tmp_path, handlers={})) as made:
        yield made


async def readyz(up: Running) -> tuple[int, dict[str, Any]]:
    answer = await up.client.get("/readyz")
    return answer.status_code, answer.json()["missing"]


async def test_a_full_disk_makes_it_not_ready_until_there_is_room(
    eager: None, tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        async with running(configured(disk, handlers={})) as up:
            assert await readyz(up) == (200, {})
            ballast = fill(disk)
            number = 0
            while (await up.post(completed(f"job_{number}", text="x" * 20_000))).status_code == 202:
                number += 1
            status, missing = await readyz(up)
            assert status == 503
            assert f"{disk}/data: No space left on device. Free some space there." in missing["store"]
            ballast.unlink()
            monkeypatch.setattr(health, "FULL_SECONDS", 0.0)  # they have passed
            assert (await up.post(completed("job_last"))).status_code == 202
            assert await readyz(up) == (200, {})
        [unavailable] = lines.of("store.unavailable")
        assert unavailable["reason"] == "store_full"
        assert len(lines.of("store.available")) == 1


async def test_a_full_disk_is_noticed_without_a_delivery(eager: None, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        async with running(configured(disk, handlers={})) as up:
            fill(disk)
            while (await readyz(up))[0] == 200:
                pass  # until the room that the `-wal` has is used up


async def test_a_locked_store_is_told_before_a_delivery_has_waited_for_it_in_vain(eager: None, up: Running) -> None:
    with WriteLock(up.receiver.database):
        sending = asyncio.create_task(up.post(completed("waits")))
        status, missing = await readyz(up)
        assert status == 503
        assert "is locked" in missing["store"]
        assert not sending.done(), "it is told before the delivery has waited for the store in vain"
    assert (await sending).status_code == 202
    assert (await up.post(completed())).status_code == 202
    assert await readyz(up) == (200, {})


async def test_a_damaged_store_stays_not_ready(eager: None, tmp_path: Path, lines: Lines) -> None:
    async with running(configured(tmp_path, handlers={})) as up:
        path = file_of(up.receiver.database)
    async with running(configured(tmp_path, handlers={})) as up:
        content = path.read_bytes()
        damage(path)
        up.receiver.database._readers._engine.dispose()  # what is in memory is still whole
        with pytest.raises(StoreMalformed):
            await up.receiver.database.read(lambda connection: connection.execute(text("SELECT * FROM runs")).all())
        status, missing = await readyz(up)
        assert status == 503
        assert f"{path} is damaged" in missing["store"]
        assert (await up.post(completed())).status_code == 503
        path.write_bytes(content)
        assert (await readyz(up))[0] == 503
    [unavailable] = lines.of("store.unavailable")
    assert "restore the backup" in unavailable["detail"]


async def test_a_wal_that_is_gone_makes_it_not_ready(eager: None, up: Running) -> None:
    assert (await up.post(completed())).status_code == 202
    Path(f"{file_of(up.receiver.database)}-wal").unlink()
    status, missing = await readyz(up)
    assert status == 503
    assert "receiver.db-wal was removed" in missing["store"]
    assert (await up.post(completed("job_2"))).status_code == 503


async def test_a_delivery_that_was_stored_a_moment_ago_is_the_probe(
    up: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "PROBE_SECONDS", 60.0)
    assert (await up.post(completed())).status_code == 202
    log = Path(f"{file_of(up.receiver.database)}-wal")
    size = log.stat().st_size
    for _ in range(20):
        assert await readyz(up) == (200, {})
    assert log.stat().st_size == size


async def test_a_hundred_questions_at_once_write_one_probe(up: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PROBE_SECONDS", 60.0)
    up.receiver.database.health.committed_at = float("-inf")
    log = Path(f"{file_of(up.receiver.database)}-wal")
    size = log.stat().st_size
    answers = await asyncio.gather(*(readyz(up) for _ in range(100)))
    assert {status for status, _ in answers} == {200}
    assert log.stat().st_size - size < 20 * 4096, "one page, and what the start itself writes"
