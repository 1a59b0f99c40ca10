"""What a dead process held is taken up at once by processes that start or live; else the leases decide."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, Event, handler
from receiver.engine.membership import POLL_INTERVAL_SECONDS, Membership
from receiver.model.role import Role
from receiver.simulator import Simulator
from receiver.store import claims, job_leases, jobs
from receiver.store import database as database_module
from receiver.store.leases import Lease, new_owner
from receiver.store.migrate import migrate
from receiver.store.processes import ProcessInfo
from receiver.store.sqlite.processes import ProcessFiles
from tests.faults import another_user
from tests.integration.engine_support import NOW, ManualClock, Signal, ended, engine, fresh_store, receiving
from tests.integration.intake_support import Lines, completed, configured
from tests.patience import PATIENCE
from tests.stores import WriteLock, execute, open_store, query

pytestmark = pytest.mark.anyio

Ctx = Context[Any]
FAR = NOW + 3600
SOON = 25.0
"""Seconds of a lease that ends long after the test's patience."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "data" / "receiver.db"


@handler(on=Event, attempts=5)
async def work(event: Event, ctx: Ctx) -> str:
    return "done"


def dead(store: Path, owner: str) -> str:
    """A process that was killed; its owner's name."""
    files = ProcessFiles(store, owner)
    files.join()
    files.close()
    return owner


async def held_run(folder: Path, store: Path, owner: str, lines: Lines, signal: Signal) -> None:
    """A delivery whose run `owner` has begun; the line of an earlier success is in the log."""
    async with receiving(configured(folder), work) as up:
        assert (await up.post(completed())).status_code == 202
        await ended(lines, signal, 1)
    execute(store, "DELETE FROM attempts")
    execute(
        store,
        "UPDATE runs SET state = 'running', attempt = 1, forgiven = 0, lease_owner = :owner, lease_until = :until, "
        "started_at = :now, finished_at = NULL, result = NULL",
        owner=owner, until=time.time() + SOON, now=time.time(),
    )  # fmt: skip


def outcomes(store: Path) -> list[str]:
    return [row["outcome"] for row in query(store, "SELECT outcome FROM attempts ORDER BY number")]


async def test_a_start_takes_up_at_once_the_run_of_a_process_that_was_killed(
    tmp_path: Path, store: Path, signal: Signal, lines: Lines
) -> None:
    await held_run(tmp_path, store, "killed", lines, signal)
    dead(store, "killed")
    async with receiving(configured(tmp_path), work):
        await ended(lines, signal, 2)
    assert outcomes(store) == ["crashed", "succeeded"]
    [line] = lines.of("process.dead")
    assert (line["owner"], line["runs"], line["jobs"]) == ("killed", 1, 0)
    assert list(ProcessFiles(store, "").folder.iterdir()) == []


async def test_a_neighbour_that_dies_loses_its_run_at_once(
    tmp_path: Path, store: Path, signal: Signal, lines: Lines
) -> None:
    await held_run(tmp_path, store, "neighbour", lines, signal)
    neighbour = ProcessFiles(store, "neighbour")
    neighbour.join()
    async with receiving(configured(tmp_path), work):
        assert (outcomes(store), lines.of("process.dead")) == ([], [])
        neighbour.close()  # as when it is killed
        await ended(lines, signal, 2)
    assert outcomes(store) == ["crashed", "succeeded"]


async def test_a_start_polls_at_once_what_a_process_that_was_killed_was_polling(
    tmp_path: Path, store: Path, signal: Signal, lines: Lines
) -> None:
    async with Simulator(job_seconds=None) as sim:
        source = {"base_url": sim.base_urls["aitts"], "api_key": sim.api_key, "allow_private_addresses": True}
        settings = configured(tmp_path, source=source)
        job = sim.finish(await sim.submit("Hello."))
        store.parent.mkdir()
        database = open_store(store)
        migrate(database)
        now = time.time()
        database.transact(jobs.watch, "job_1", "aitts", job.id, now, now, now + 3600)
        assert database.transact(job_leases.claim, "aitts", 1, now, Lease(dead(store, "killed"), now + SOON))
        database.close()
        async with receiving(settings, work):
            await ended(lines, signal, 1)
    [row] = query(store, "SELECT * FROM jobs")
    assert (row["state"], row["polls"], row["lease_owner"]) == ("completed", 1, None)


# how: one process's membership, the test has the clock


class Member:
    """A process that shares the store, with the test's clock."""

    def __init__(self, store: Path, owner: str, signal: Signal, role: Role = Role.ALL) -> None:
        self.signal = signal
        self.clock = ManualClock(signal)
        self.files = ProcessFiles(store, owner)
        self.database = open_store(store)
        self.taken_up = 0
        info = ProcessInfo(owner, role, "host", 1, "1.0", NOW)
        self.membership = Membership(self.database, self.files, info, [self._count], self.clock)

    def _count(self) -> None:
        self.taken_up += 1

    async def poll_once(self) -> None:
        """Let it look once more."""
        before = self.clock.seconds[POLL_INTERVAL_SECONDS]
        await self.signal.until(lambda: self.clock.seconds[POLL_INTERVAL_SECONDS] > 0)
        self.clock.advance(POLL_INTERVAL_SECONDS)
        await self.signal.until(lambda: self.clock.seconds[POLL_INTERVAL_SECONDS] > max(1, before))


@pytest.fixture
async def member(store: Path, signal: Signal) -> AsyncIterator[Member]:
    store.parent.mkdir()
    fresh_store(store)
    it = Member(store, "me", signal)
    it.database.start()
    yield it
    await it.membership.leave()
    it.database.close()


def held(store: Path, owner: str) -> None:
    """Two jobs in the hands of an owner."""
    database = open_store(store)
    for id in (f"{owner}.1", f"{owner}.2"):
        database.transact(jobs.watch, id, "aitts", id, NOW, NOW, NOW + 3600)
    assert len(database.transact(job_leases.claim, "aitts", 2, NOW, Lease(owner, FAR))) == 2
    database.close()


def holders(store: Path) -> list[str | None]:
    return [row["lease_owner"] for row in query(store, "SELECT lease_owner FROM jobs ORDER BY id")]


async def test_only_the_leases_of_the_dead_end(store: Path, member: Member, lines: Lines) -> None:
    living = ProcessFiles(store, "living")
    living.join()
    for owner in (dead(store, "killed"), "living", "host:123:an_earlier_release"):
        held(store, owner)
    await member.membership.join()
    assert holders(store) == ["host:123:an_earlier_release"] * 2 + [None] * 2 + ["living"] * 2
    assert member.taken_up == 1
    await member.poll_once()
    assert member.taken_up == 1
    living.close()
    await member.poll_once()
    assert holders(store) == ["host:123:an_earlier_release"] * 2 + [None] * 4
    assert member.taken_up == 2
    assert [(line["owner"], line["jobs"]) for line in lines.of("process.dead")] == [("killed", 2), ("living", 2)]


async def test_an_intake_leaves_the_dead_to_the_workers(store: Path, member: Member) -> None:
    held(store, dead(store, "killed"))
    intake = Member(store, "intake", member.signal, Role.INTAKE)
    intake.database.start()
    await intake.membership.join()
    assert holders(store) == ["killed"] * 2
    assert intake.files.is_visible, "its own death is noticed"
    await member.membership.join()
    assert holders(store) == [None] * 2
    assert (intake.taken_up, member.taken_up) == (0, 1)
    await intake.membership.leave()
    intake.database.close()


async def test_while_the_store_is_away_a_dead_process_is_not_forgotten(
    store: Path, member: Member, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    held(store, dead(store, "killed"))
    away = Member(store, "away", member.signal)  # its store does not wait for five seconds
    away.database.start()
    lock = WriteLock(store)
    await away.membership.join()
    assert lines.of("process.work_not_released")
    lock.release()
    await away.poll_once()
    assert holders(store) == [None, None]
    await away.membership.leave()
    away.database.close()


async def test_at_an_orderly_end_nothing_waits_for_a_lease(store: Path, member: Member) -> None:
    await member.membership.join()
    held(store, "me")
    assert await member.membership.leave()
    assert holders(store) == [None, None]
    assert list(member.files.folder.iterdir()) == []


async def test_what_could_not_be_given_back_at_the_end_is_taken_up_by_the_next(
    store: Path, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    ending = Member(store, "ending", member.signal)
    ending.database.start()
    await ending.membership.join()
    held(store, "ending")
    lock = WriteLock(store)
    assert not await ending.membership.leave(), "the others still see it"
    ending.database.close()
    lock.release()
    await member.membership.join()
    assert holders(store) == [None, None]


async def test_where_locks_cannot_be_had_leases_are_the_measure(store: Path, member: Member, lines: Lines) -> None:
    member.files.folder.write_text("not a folder")
    held(store, "killed")
    await member.membership.join()
    await member.poll_once()
    assert holders(store) == ["killed", "killed"]
    [line] = lines.of("process.lock_failed")
    assert "exists" in line["detail"]


async def test_a_file_that_somebody_removed_is_told_of_once(store: Path, member: Member, lines: Lines) -> None:
    await member.membership.join()
    (member.files.folder / "me").unlink()
    held(store, dead(store, "killed"))
    await member.poll_once()
    await member.poll_once()
    assert holders(store) == [None, None]
    assert len(lines.of("process.lock_failed")) == 1


async def test_a_process_whose_file_was_removed_is_seen_again(store: Path, member: Member, lines: Lines) -> None:
    other = ProcessFiles(store, "other")
    other.join()
    await member.membership.join()
    (member.files.folder / "me").unlink()
    await member.poll_once()
    assert member.files.is_visible
    assert len(lines.of("process.lock_restored")) == 1
    assert other.find_dead() == []
    member.files.close()  # as when it is killed
    assert other.find_dead() == ["me"]
    other.close()


async def test_a_process_that_could_not_be_seen_tries_again(store: Path, member: Member, lines: Lines) -> None:
    member.files.folder.write_text("not a folder")
    held(store, "killed")
    await member.membership.join()
    member.files.folder.unlink()
    dead(store, "killed")
    await member.poll_once()
    assert (member.files.is_visible, holders(store)) == (False, ["killed"] * 2)
    member.clock.advance(member.files.rejoin_seconds)
    await member.poll_once()
    assert (member.files.is_visible, holders(store)) == (True, [None] * 2)
    assert (len(lines.of("process.lock_failed")), len(lines.of("process.lock_restored"))) == (1, 1)


async def test_a_dead_process_whose_file_cannot_be_removed_is_told_of_once(signal: Signal, lines: Lines) -> None:
    with another_user() as folder:
        store = fresh_store(folder / "receiver.db")
        member = Member(store, "me", signal)
        member.database.start()
        await member.membership.join()
        for owner in ("killed", "killed_too"):
            held(store, dead(store, owner))
        member.files.folder.chmod(0o500)
        await member.poll_once()
        await member.poll_once()
        await member.poll_once()
        member.files.folder.chmod(0o700)
        await member.membership.leave()
        member.database.close()
        assert holders(store) == [None] * 4
        assert len(lines.of("process.dead")) == 2
        assert sorted(line["owner"] for line in lines.of("process.lock_not_removed")) == ["killed", "killed_too"]
        assert lines.of("process.broken") == []
        later = ProcessFiles(store, "later")
        later.join()
        assert sorted(later.find_dead()) == ["killed", "killed_too"]
        later.close()


async def test_a_fault_does_not_end_the_looking(
    store: Path, member: Member, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    await member.membership.join()
    held(store, dead(store, "killed"))
    with monkeypatch.context() as broken:
        broken.setattr(ProcessFiles, "find_dead", lambda _: 1 / 0)
        await member.poll_once()
    assert lines.of("process.broken")
    await member.poll_once()
    assert holders(store) == [None, None]


async def test_a_fault_does_not_end_the_extending_of_leases(
    tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine(tmp_path / "receiver.db", work) as up:
        with monkeypatch.context() as broken:
            broken.setattr(claims, "has_expired", lambda *_: 1 / 0)
            await up.beat()
        assert lines.of("dispatch.leases_broken")
        await up.beat()
        assert up.dispatcher.alive
        assert len(lines.of("dispatch.leases_broken")) == 1


async def test_the_dead_are_found_while_every_thread_of_the_loop_waits_for_a_storage(
    tmp_path: Path, store: Path
) -> None:
    go = threading.Event()
    async with receiving(configured(tmp_path), work):
        loop = asyncio.get_running_loop()
        waiting = [loop.run_in_executor(None, go.wait, PATIENCE) for _ in range(64)]
        try:
            owner = dead(store, new_owner())
            async with asyncio.timeout(PATIENCE / 2):
                while list(store.parent.rglob(owner)):
                    await asyncio.sleep(0.01)
        finally:
            go.set()
            await asyncio.gather(*waiting)
