"""The writer beside the first one of a store in PostgreSQL: only what uses it starts its thread."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from receiver.errors import StoreUnavailable
from tests.postgresql_server import PostgresqlServer
from tests.stores import open_store, postgresql_address

pytestmark = [pytest.mark.anyio, pytest.mark.postgresql]


def writers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "store-write"}


def session(connection: Connection) -> int:
    return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()


async def test_the_second_writer_starts_with_its_first_write(postgresql: PostgresqlServer) -> None:
    before = writers()
    with postgresql_address(postgresql) as address:
        database = open_store(address)
        database.start()
        first = await database.write(session)
        assert len(writers() - before) == 1
        second = await database.write(session, beside=True)
        assert second != first
        assert await database.write(session, beside=True) == second
        assert len(writers() - before) == 2
        database.close()
        assert writers() <= before
        with pytest.raises(StoreUnavailable, match="writer has ended"):
            await database.write(session, beside=True)


async def test_a_second_writer_that_was_never_used_does_not_start_after_the_end(postgresql: PostgresqlServer) -> None:
    before = writers()
    with postgresql_address(postgresql) as address:
        database = open_store(address)
        database.start()
        database.close()
        with pytest.raises(StoreUnavailable, match="writer has ended"):
            await database.write(session, beside=True)
        assert writers() <= before


async def test_a_store_in_a_folder_has_one_writer(tmp_path: Path) -> None:
    before = writers()
    database = open_store(tmp_path / "receiver.db")
    database.create()
    database.start()
    assert not database.has_second_writer
    assert await database.write(lambda connection: 1, beside=True) == 1
    assert len(writers() - before) == 1
    database.close()
