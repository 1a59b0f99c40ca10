"""Settings of a database server by which a power cut loses what was acknowledged."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from receiver.store.backends import backend_of
from receiver.store.database import Database
from tests.postgresql_server import running_server


@pytest.mark.sqlite
def test_a_file_of_ours_has_none(database: Database) -> None:
    assert database.durability_risks() == []


@pytest.mark.postgresql
def test_a_server_that_does_not_wait_for_the_disk_has_them_until_that_is_mended() -> None:
    with running_server("fsync = off\nfull_page_writes = off\nmax_connections = 20\n") as server:
        address = server.url(server.create())

        def risks() -> list[str]:
            with closing(Database(backend_of(address, Path("/")))) as database:
                return [risk.partition(" of ")[0] for risk in database.durability_risks()]

        assert risks() == ["fsync = off", "full_page_writes = off"]
        server.execute("ALTER SYSTEM SET full_page_writes = on")
        server.restart()
        assert risks() == ["fsync = off"]
        server.execute("ALTER SYSTEM SET fsync = on")
        server.restart()
        assert risks() == []


@pytest.mark.postgresql
def test_synchronous_standbys_that_no_commit_waits_for_are_one() -> None:
    with running_server("synchronous_commit = local\nmax_connections = 20\n") as server:
        address = server.url(server.create())

        def risks() -> list[str]:
            with closing(Database(backend_of(address, Path("/")))) as database:
                return [risk.partition(" of ")[0] for risk in database.durability_risks()]

        alone = risks()
        server.execute("ALTER SYSTEM SET synchronous_standby_names = 'one'")
        server.restart()
        assert risks() == [*alone, "synchronous_commit = local"]
        server.execute("ALTER SYSTEM SET synchronous_commit = remote_write")
        server.restart()
        assert risks() == alone
