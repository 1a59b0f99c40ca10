"""Real faults of disks and permissions: a small file system, another user, a damaged file."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from receiver.store.database import Database
from tests.stores import execute, query

NOBODY = 65534


@contextmanager
def small_disk(folder: Path, size: str = "2m") -> Iterator[Path]:
    """A file system of `size` at `folder`; the test is skipped where none can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Use up the file system's space; the file that holds it."""
    file = folder / "ballast"
    with file.open("ab", buffering=0) as out:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    out.write(bytes(size))
            except OSError:
                continue
    return file


@contextmanager
def another_user() -> Iterator[Path]:
    """Act as a user without rights, whom permissions bind; gives a folder of that user's."""
    folder = Path(tempfile.mkdtemp(prefix="receiver-"))
    as_root = os.geteuid() == 0
    if as_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if as_root:
            os.seteuid(0)
            importlib.invalidate_caches()  # an import meanwhile may have found nothing
        shutil.rmtree(folder, ignore_errors=True)


def _pages(connection: Connection, limit: int) -> None:
    connection.exec_driver_sql(f"PRAGMA max_page_count={limit}")


async def limit_pages(database: Database, limit: int) -> None:
    """SQLite's own bound on the file, for every connection that writes; 1 stands for as many as there are."""
    await database.write(_pages, limit)
    for _ in range(2):
        await asyncio.to_thread(database.transact, _pages, limit)


def damage_root(path: Path, name: str) -> None:
    """Overwrite the first page of a table or an index of a store that nobody uses."""
    [found] = query(path, "SELECT rootpage FROM sqlite_master WHERE name = :name", name=name)
    execute(path, "PRAGMA journal_mode=DELETE")  # otherwise the page may be in the `-wal`
    damage(path, slice(found["rootpage"], found["rootpage"]))


def damage(path: Path, pages: slice = slice(2, None)) -> None:
    """Overwrite these of a store's pages, from 1. In a process of its own: ours holds locks on the file."""
    script = (
        "import sys; f = open(sys.argv[1], 'r+b'); end = f.seek(0, 2); first, last = map(int, sys.argv[2:]);"
        "at = 4096 * (first - 1); f.seek(at); f.write(bytes([165]) * (min(end, 4096 * last) - at))"
    )
    bounds = [str(pages.start), str(pages.stop or 1 << 30)]
    subprocess.run([sys.executable, "-c", script, str(path), *bounds], check=True)
