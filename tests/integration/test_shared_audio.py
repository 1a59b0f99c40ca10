"""Processes on one store in PostgreSQL that store audio in different places are named, at the start and by `check`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from receiver.clock import SystemClock
from receiver.engine import shared_audio
from receiver.engine.shared_audio import OLD_SECONDS, SharedAudio, find_apart
from receiver.outbound.storage import open_storage
from receiver.outbound.storage_types import Storage
from receiver.store.database import Database
from receiver.store.replicas import Replica
from receiver.store.schema import processes
from tests.integration.intake_support import Lines
from tests.postgresql_server import PostgresqlServer
from tests.stores import postgresql_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def database(postgresql: PostgresqlServer) -> Iterator[Database]:
    with postgresql_store(postgresql) as database:
        yield database


class Machine:
    """A process on a machine of its own, which has an audio folder."""

    def __init__(self, database: Database, owner: str, folder: Path) -> None:
        self.database, self.owner, self.spool = database, owner, folder / ".spool"
        self.audio = SharedAudio(database, open_storage(str(folder), folder), self.spool, owner, SystemClock())

    async def start(self) -> None:
        await self.audio.announce()
        row = {"owner": self.owner, "role": "worker", "host": f"host-{self.owner}", "pid": 1, "version": "0"}
        row |= {"started_at": time.time(), "heartbeat_at": time.time()}
        await self.database.write(lambda connection: connection.execute(insert(processes).values(row)))
        await self.audio.check()


async def test_a_process_with_another_folder_is_named_and_one_with_the_same_is_not(
    database: Database, tmp_path: Path, lines: Lines
) -> None:
    shared = tmp_path / "shared"
    one, two = Machine(database, "one", shared), Machine(database, "two", shared)
    await one.start()
    await two.start()
    assert lines.of("audio.not_shared") == []
    apart = Machine(database, "apart", tmp_path / "own")
    await apart.start()
    assert [(line["owner"], line["host"]) for line in lines.of("audio.not_shared")] == [
        ("one", "host-one"),
        ("two", "host-two"),
    ]
    assert "Use an object store such as s3://bucket/prefix" in lines.of("audio.not_shared")[0]["hint"]
    assert sorted(path.name for path in one.spool.iterdir()) == ["one.process", "two.process"]
    await two.audio.withdraw()
    assert [path.name for path in one.spool.iterdir()] == ["one.process"]


async def test_a_process_that_ends_while_another_one_looks_is_not_named(
    database: Database, tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Machine(database, "one", tmp_path), Machine(database, "two", tmp_path)
    await one.start()

    def find(storage: Storage, spool: Path, others: Iterable[Replica]) -> list[Replica]:
        """As `find_apart`; just before it looks, the other process has ended."""
        database.transact(lambda connection: connection.execute(delete(processes).where(processes.c.owner == "one")))
        (one.spool / "one.process").unlink()
        return find_apart(storage, spool, others)

    monkeypatch.setattr(shared_audio, "find_apart", find)
    await two.start()
    assert not (one.spool / "one.process").exists()
    assert lines.of("audio.not_shared") == []


async def test_the_mark_of_a_process_that_was_killed_long_ago_is_removed(
    database: Database, tmp_path: Path, lines: Lines
) -> None:
    one = Machine(database, "one", tmp_path)
    one.spool.mkdir()
    for name, age in (("killed", OLD_SECONDS + 60), ("recent", 60.0)):
        mark = one.spool / f"{name}.process"
        mark.touch()
        os.utime(mark, (time.time() - age, time.time() - age))
    await one.start()
    assert sorted(path.name for path in one.spool.iterdir()) == ["one.process", "recent.process"]


def test_an_object_store_is_shared_and_memory_is_not(tmp_path: Path) -> None:
    others = [Replica("other", "host")]
    assert find_apart(open_storage("memory://", tmp_path), tmp_path, others) == others
    assert find_apart(open_storage("s3://bucket/prefix", tmp_path), tmp_path, others) == []
