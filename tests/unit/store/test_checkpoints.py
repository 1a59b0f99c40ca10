"""Checkpoints are made beside the writer; a commit makes one only if the `-wal` is large."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.database import Database
from receiver.store.sqlite.engine import CHECKPOINT_ROWS, MAX_WAL_PAGES, Checkpoints
from tests.integration.intake_support import logged
from tests.patience import PATIENCE
from tests.stores import file_of

pytestmark = [pytest.mark.anyio, pytest.mark.sqlite]

Make = Callable[..., Delivery]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def store(database: Database, delivery: Make, rows: int) -> None:
    for start in range(0, rows, 250):
        await database.write(inbox.accept, [delivery(f"job_{number}") for number in range(start, start + 250)])


async def test_what_was_committed_is_soon_in_the_file_itself(database: Database, delivery: Make) -> None:
    file = file_of(database)
    before = file.stat().st_size
    await store(database, delivery, CHECKPOINT_ROWS)
    until(lambda: file.stat().st_size > before)


async def test_no_commit_makes_a_checkpoint_while_the_thread_keeps_up(
    database: Database, delivery: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "committed", lambda self, rows: None)
    file = file_of(database)
    before = file.stat().st_size
    await store(database, delivery, CHECKPOINT_ROWS)
    assert file.stat().st_size == before


async def test_a_commit_makes_one_if_the_thread_makes_none(
    database: Database, delivery: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "committed", lambda self, rows: None)
    file = file_of(database)
    wal = Path(f"{file}-wal")
    for _ in range(4):
        await store(database, delivery, 2 * CHECKPOINT_ROWS)
    assert wal.stat().st_size < 2 * MAX_WAL_PAGES * 4096


def test_one_that_fails_is_logged_once_and_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    checkpoints = Checkpoints(file)
    with logged() as lines:
        for number in (1, 2, 3):
            checkpoints.committed(number * CHECKPOINT_ROWS)
            until(lambda: not checkpoints._due.is_set())
        until(lambda: lines.of("store.checkpoint_failed"))
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE t (x)")
            connection.commit()
            before = file.stat().st_size
            checkpoints.committed(4 * CHECKPOINT_ROWS)
            until(lambda: file.stat().st_size > before)
        checkpoints.close()
        [line] = lines.of("store.checkpoint_failed")
        assert line["path"] == str(file)


def test_a_new_connection_counts_from_its_own_beginning(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "store.db")
    checkpoints._thread = object()  # type: ignore[assignment] - nothing clears what is due
    for rows, due in ((CHECKPOINT_ROWS - 1, False), (CHECKPOINT_ROWS, True), (5, True), (CHECKPOINT_ROWS + 4, False)):
        checkpoints._due.clear()
        checkpoints.committed(rows)
        assert checkpoints._due.is_set() is due
