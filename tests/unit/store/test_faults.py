"""Errors of the store name path, cause and what to do; a damaged store stays refused, a lost `-wal` is noticed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from receiver.errors import StoreFull, StoreMalformed, StoreUnavailable
from receiver.model.delivery import Delivery
from receiver.store import health, inbox
from receiver.store.database import Database
from receiver.store.migrate import migrate
from receiver.store.sqlite import engine
from tests.faults import another_user, damage, fill, small_disk
from tests.stores import file_of, open_store

pytestmark = [pytest.mark.anyio, pytest.mark.sqlite]

Make = Callable[..., Delivery]


def open_error(path: Path) -> str:
    """What a start says of this store."""
    database = open_store(path)
    try:
        with pytest.raises(StoreUnavailable) as caught:
            migrate(database)
        return str(caught.value)
    finally:
        database.close()


def test_a_folder_in_the_stores_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "receiver.db"
    path.mkdir()
    assert open_error(path) == (
        f"The store {path} cannot be opened (unable to open database file): {path}: Is a directory. "
        "Name a file instead."
    )


def test_a_store_that_may_not_be_read_is_named_with_the_reason(template: Path) -> None:
    content = template.read_bytes()
    with another_user() as folder:
        path = folder / "receiver.db"
        path.write_bytes(content)
        path.chmod(0)
        said = open_error(path)
        assert f"{path}: Permission denied. Give the user that runs the receiver access to it." in said


def test_a_folder_that_may_not_be_written_is_named_with_the_reason() -> None:
    with another_user() as folder:
        folder.chmod(0o500)
        path = folder / "receiver.db"
        assert open_error(path) == (
            f"The store {path} cannot be opened: Permission denied. Give the user that runs the receiver access to it."
        )
        folder.chmod(0)
        assert "Permission denied" in open_error(path)


def test_a_folder_that_may_not_be_looked_into_any_more_is_named_with_the_reason() -> None:
    with another_user() as folder:
        path = folder / "receiver.db"
        path.touch()
        files = engine.StoreFiles(path)
        files.opened()
        folder.chmod(0)
        with pytest.raises(StoreUnavailable, match="Permission denied"):
            files.require_store()
        folder.chmod(0o700)
        files.require_store()


def test_a_full_disk_at_the_start_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        said = open_error(disk / "receiver.db")
        assert f"{disk}: No space left on device. Free some space there." in said


def test_a_file_system_for_reading_only_is_named(tmp_path: Path, template: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "receiver.db"
        path.write_bytes(template.read_bytes())
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        database = open_store(path)
        with pytest.raises(StoreUnavailable) as caught:
            database.transact(lambda connection: None)
        database.close()
        assert "Read-only file system. Mount the file system for writing." in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_file_that_is_no_store_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "receiver.db"
    path.write_bytes(b"this is not a database, it only looks like a file" * 100)
    assert open_error(path) == (
        f"{path} is not a store (file is not a database). Restore it from the backup, or let store.url name another "
        "file."
    )


@pytest.fixture
def damaged(template: Path, tmp_path: Path) -> Path:
    """A store whose pages are damaged, all but the first, which has the schema's root."""
    path = tmp_path / "receiver.db"
    path.write_bytes(template.read_bytes())
    damage(path)
    return path


async def test_a_damaged_store_takes_nothing_until_the_restart_though_its_file_be_mended(
    damaged: Path, template: Path, delivery: Make
) -> None:
    database = open_store(damaged)
    database.start()
    with pytest.raises(StoreMalformed, match=r"receiver\.db is damaged .* restore the backup"):
        await database.batch(inbox.accept, delivery("first"))
    damaged.write_bytes(template.read_bytes())
    with pytest.raises(StoreMalformed):
        await database.batch(inbox.accept, delivery("second"))
    assert isinstance(database.health.outage(), StoreMalformed)
    await asyncio.to_thread(database.close)


async def test_damage_that_a_read_finds_counts_too(damaged: Path) -> None:
    database = open_store(damaged)
    database.start()
    with pytest.raises(StoreMalformed):
        await database.read(lambda connection: connection.execute(text("SELECT * FROM events")).all())
    assert isinstance(database.health.outage(), StoreMalformed)
    await asyncio.to_thread(database.close)


def seen_by_another(path: Path) -> int:
    """How many events another process finds."""
    script = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM events').fetchone()[0])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True)
    return int(done.stdout)


async def test_a_wal_that_disappears_is_noticed_and_what_was_acknowledged_is_saved(
    database: Database, delivery: Make
) -> None:
    await database.batch(inbox.accept, delivery("acknowledged"))
    Path(f"{file_of(database)}-wal").unlink()
    for number in range(2):
        with pytest.raises(StoreUnavailable, match=r"receiver\.db-wal was removed or replaced .* Restart the receiver"):
            await database.batch(inbox.accept, delivery(f"refused {number}"))
    assert seen_by_another(file_of(database)) >= 1


async def test_another_process_that_ends_just_before_our_first_transaction_removes_no_log(
    database: Database, delivery: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(file_of(database), check_same_thread=False)
    assert other.execute("SELECT count(*) FROM events").fetchone() == (0,)
    check = engine.StoreFiles.require_all

    def check_and_end_the_other(files: engine.StoreFiles) -> None:
        check(files)
        other.close()  # as the last one it removes the files beside the store
        for name in ("a", "b"):  # nor do those that are made anew get the numbers of the old ones
            file_of(database).with_name(name).touch()

    monkeypatch.setattr(engine.StoreFiles, "require_all", check_and_end_the_other)
    await database.batch(inbox.accept, delivery("first"))
    assert seen_by_another(file_of(database)) == 1


@pytest.mark.parametrize(
    "change", ["the store is moved", "the -wal is removed", "the folder is moved", "a second passes"]
)
def test_files_that_were_checked_are_checked_again_when_their_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "data" / "receiver.db"
    path.parent.mkdir()
    for name in ("", "-wal", "-shm"):
        Path(f"{path}{name}").touch()
    os.utime(path.parent, (1_700_000_000, 1_700_000_000))  # long settled
    files = engine.StoreFiles(path)
    files.opened()
    for _ in range(2):
        files.require_unchanged()
    checks: list[None] = []
    monkeypatch.setattr(files, "require_all", lambda: checks.append(None))
    files.require_unchanged()
    assert not checks  # nothing but the folder was looked at
    match change:
        case "the store is moved":
            path.rename(path.with_name("away"))
        case "the -wal is removed":
            Path(f"{path}-wal").unlink()
        case "the folder is moved":
            path.parent.rename(tmp_path / "away")
        case _:
            files._check_at = float("-inf")
    files.require_unchanged()
    assert checks


async def test_the_wal_of_a_store_behind_a_link_is_noticed_too(template: Path, tmp_path: Path, delivery: Make) -> None:
    real, link = tmp_path / "real.db", tmp_path / "receiver.db"
    real.write_bytes(template.read_bytes())
    link.symlink_to(real)
    database = open_store(link)
    database.start()
    await database.batch(inbox.accept, delivery("acknowledged"))
    Path(f"{real}-wal").unlink()
    with pytest.raises(StoreUnavailable, match=r"real\.db-wal was removed"):
        await database.batch(inbox.accept, delivery("refused"))
    await asyncio.to_thread(database.close)


async def test_an_shm_that_disappears_is_noticed(database: Database, delivery: Make) -> None:
    await database.batch(inbox.accept, delivery("before"))
    shm, elsewhere = Path(f"{file_of(database)}-shm"), Path(f"{file_of(database)}.away")
    shm.rename(elsewhere)
    with pytest.raises(StoreUnavailable, match=r"receiver\.db-shm was removed"):
        await database.batch(inbox.accept, delivery("refused"))
    elsewhere.rename(shm)
    await database.batch(inbox.accept, delivery("after"))


async def test_processes_that_come_and_go_beside_a_running_one_remove_nothing(
    database: Database, delivery: Make
) -> None:
    script = (
        "import sys; from pathlib import Path; from receiver.store.backends import backend_of;"
        "from receiver.store.database import Database; from receiver.store.migrate import migrate;"
        "d = Database(backend_of(f'sqlite:///{sys.argv[1]}', Path('/'))); migrate(d);"
        "d.transact(lambda c: c.exec_driver_sql('UPDATE alembic_version SET version_num = version_num')); d.close()"
    )
    await database.batch(inbox.accept, delivery("first"))
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script, str(file_of(database))], check=True)
    await database.batch(inbox.accept, delivery("last"))
    assert database.health.outage() is None


async def test_a_probe_meets_a_full_disk_which_counts_for_some_seconds_more(
    tmp_path: Path, template: Path, delivery: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "receiver.db"
        path.write_bytes(template.read_bytes())
        database = open_store(path)
        database.start()
        await database.probe()
        ballast = fill(disk)
        probes = (database.probe() for _ in range(64))  # the `-wal` has some room of its own
        failed = [type(error) for error in await asyncio.gather(*probes, return_exceptions=True) if error is not None]
        assert failed
        assert set(failed) == {StoreFull}
        ballast.unlink()
        await database.batch(inbox.accept, delivery("first"))
        assert isinstance(database.health.outage(), StoreFull), "what was committed may be smaller than what comes"
        monkeypatch.setattr(health, "FULL_SECONDS", 0.0)  # they have passed
        await database.batch(inbox.accept, delivery("second"))
        assert database.health.outage() is None
        await asyncio.to_thread(database.close)


async def test_a_probe_changes_nothing_and_does_not_let_the_store_grow(database: Database) -> None:
    def read_plans(connection: Connection) -> list[Any]:
        names = ("user_version", "schema_version", "page_count")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    before = await database.read(read_plans)
    size = os.stat(f"{file_of(database)}-wal").st_size if os.path.exists(f"{file_of(database)}-wal") else 0
    await database.probe()
    assert os.stat(f"{file_of(database)}-wal").st_size > size, "it costs a page"
    assert await database.read(read_plans) == before
