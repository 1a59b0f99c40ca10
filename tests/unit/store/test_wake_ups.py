"""Processes that share a SQLite store are woken by what a command commits, by a named pipe of each."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection

from receiver.store.changes import MADE_DUE, Change
from receiver.store.database import Database
from receiver.store.migrate import migrate
from receiver.store.sqlite.processes import ProcessFiles
from receiver.store.sqlite.wake_ups import PREFIX, wake_all
from tests.patience import PATIENCE
from tests.stores import open_store

pytestmark = pytest.mark.sqlite

HOLDER = """
import sys
from pathlib import Path
from receiver.store.sqlite.processes import ProcessFiles
files = ProcessFiles(Path(sys.argv[1]), "other")
files.subscribe(lambda change: None)
files.join()
print("joined", flush=True)
sys.stdin.read()
"""


class Woken:
    """A process that has joined, and what it was called with."""

    def __init__(self, store: Path, owner: str = "here") -> None:
        self.files = ProcessFiles(store, owner)
        self.changes: queue.Queue[Change | None] = queue.Queue()
        self.files.subscribe(self.changes.put)
        self.files.join()

    def next_changes(self) -> list[Change | None]:
        """What one wake-up says; waits for it."""
        return [self.changes.get(timeout=PATIENCE) for _ in MADE_DUE]

    @property
    def pipes(self) -> list[str]:
        return sorted(path.name for path in self.files.folder.iterdir() if path.name.startswith(PREFIX))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "receiver.db"


@pytest.fixture
def here(store: Path) -> Iterator[Woken]:
    woken = Woken(store)
    yield woken
    woken.files.close()


@pytest.fixture
def command(store: Path) -> Iterator[Database]:
    database = open_store(store)
    migrate(database)
    database.announce_commits()
    yield database
    database.close()


def set_number(connection: Connection, number: int) -> None:
    connection.exec_driver_sql(f"PRAGMA user_version={number}")


def number(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def test_a_command_wakes_every_process_once_its_transaction_is_committed(store: Path, command: Database) -> None:
    seen: queue.Queue[int] = queue.Queue()
    reader = open_store(store)
    files = ProcessFiles(store, "here")
    files.subscribe(lambda change: seen.put(reader.query(number)))
    files.join()
    there = Woken(store, "there")
    command.transact(set_number, 1234)
    assert [seen.get(timeout=PATIENCE) for _ in MADE_DUE] == [1234] * len(MADE_DUE)
    assert there.next_changes() == list(MADE_DUE)
    there.files.close()
    files.close()
    reader.close()


def test_a_transaction_that_is_not_committed_wakes_nobody(here: Woken, command: Database) -> None:
    def fail(connection: Connection) -> None:
        raise RuntimeError("not this one")

    with pytest.raises(RuntimeError, match="not this one"):
        command.transact(fail)
    assert here.changes.empty()
    command.transact(set_number, 1)
    assert here.next_changes() == list(MADE_DUE)


def test_a_process_whose_folder_was_removed_is_woken_again_when_it_has_joined_again(here: Woken) -> None:
    for path in here.files.folder.iterdir():
        path.unlink()
    here.files.folder.rmdir()
    wake_all(here.files.folder)
    here.files.join()
    wake_all(here.files.folder)
    assert here.next_changes() == list(MADE_DUE)


def test_a_burst_that_fills_the_pipe_delays_no_command(store: Path, here: Woken) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, store], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "joined\n"
        other.send_signal(signal.SIGSTOP)
        pipe = os.open(here.files.folder / f"{PREFIX}other", os.O_WRONLY | os.O_NONBLOCK)
        with suppress(BlockingIOError):  # it is full
            while True:
                os.write(pipe, bytes(4096))
        os.close(pipe)
        wake_all(here.files.folder)
        other.kill()
    assert here.next_changes() == list(MADE_DUE)


@pytest.mark.parametrize("by_command", [True, False])
def test_the_pipe_of_a_killed_process_is_removed(store: Path, here: Woken, by_command: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, store], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "joined\n"
        assert here.pipes == [f"{PREFIX}here", f"{PREFIX}other"]
        other.kill()
    if by_command:
        wake_all(here.files.folder)
    else:
        assert here.files.find_dead() == ["other"]
        here.files.remove("other")
    assert here.pipes == [f"{PREFIX}here"]


def test_a_process_that_left_has_no_pipe(store: Path, here: Woken) -> None:
    there = Woken(store, "there")
    there.files.leave()
    assert here.pipes == [f"{PREFIX}here"]


def test_what_is_no_pipe_is_not_written(here: Woken, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("")
    (here.files.folder / f"{PREFIX}file").write_text("")
    (here.files.folder / f"{PREFIX}link").symlink_to(other)
    wake_all(here.files.folder)
    assert here.next_changes() == list(MADE_DUE)
    assert (here.files.folder / f"{PREFIX}file").read_text() == other.read_text() == ""


def test_where_there_can_be_no_pipe_a_process_joins_all_the_same(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError("no pipes on this file system")

    monkeypatch.setattr(os, "mkfifo", refuse)
    woken = Woken(store)
    assert woken.files.is_visible
    woken.files.leave()
