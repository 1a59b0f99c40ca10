"""Who is dead, by the locks of real processes: killed, ended, living, forked, or without a file."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.store.leases import new_owner
from receiver.store.sqlite.processes import ProcessFiles, find_living
from tests.patience import PATIENCE
from tests.stores import open_store

HOLDER = """
import sys
from pathlib import Path
from receiver.store.sqlite.processes import ProcessFiles
files = ProcessFiles(Path(sys.argv[1]), sys.argv[2])
files.join()
exec(sys.argv[3])
print("joined", flush=True)
sys.stdin.read()
"""
"""Joins, does what it is told, and waits."""


FORK = """
import os, time
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.write(write, b"!")
    time.sleep(600)
os.read(read, 1)
print(child, flush=True)
"""
"""A child that outlives its parent, and is at work."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "receiver.db"


@pytest.fixture
def here(store: Path) -> Iterator[ProcessFiles]:
    files = ProcessFiles(store, "here")
    files.join()
    yield files
    files.close()


def another(store: Path, owner: str, then: str = "") -> subprocess.Popen[str]:
    """Another process that has joined."""
    process = started(store, owner, then)
    assert said(process) == "joined"
    return process


def started(store: Path, owner: str, then: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(store), owner, then]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=PATIENCE)


def test_a_killed_process_is_dead_and_a_living_one_is_not(store: Path, here: ProcessFiles) -> None:
    process = another(store, "there")
    try:
        assert here.find_dead() == []
        process.send_signal(signal.SIGSTOP)
        assert here.find_dead() == []
    finally:
        kill(process)
    assert here.find_dead() == ["there"]
    assert here.find_dead() == ["there"]
    here.remove("there")
    assert here.find_dead() == []
    assert [path.name for path in here.folder.iterdir()] == ["here"]


def test_whoever_has_not_joined_can_ask_whether_anybody_lives(store: Path) -> None:
    assert find_living(store) == [], "there is no folder"
    process = another(store, "there")
    try:
        assert find_living(store) == ["there"]
        assert find_living(store) == ["there"], "to ask changes nothing"
    finally:
        kill(process)
    assert find_living(store) == []
    here = ProcessFiles(store, "here")
    here.join()
    assert here.find_dead() == ["there"], "a dead process is still there to be found"
    assert "here" in find_living(store)
    here.leave()
    assert find_living(store) == []


def test_where_the_folder_cannot_be_read_somebody_may_live(store: Path) -> None:
    store.with_name(f"{store.name}.processes").write_text("no folder")
    assert open_store(store).any_process_lives()


def test_one_finder_at_a_time_has_a_dead_process(store: Path, here: ProcessFiles) -> None:
    kill(another(store, "there"))
    also = ProcessFiles(store, "also")
    also.join()
    assert here.find_dead() == ["there"]
    assert also.find_dead() == []
    here.close()  # it dies before it has done anything
    assert sorted(also.find_dead()) == ["here", "there"]
    also.close()


def test_a_process_that_left_is_not_known_any_more(store: Path, here: ProcessFiles) -> None:
    left = ProcessFiles(store, "left")
    left.join()
    left.leave()
    assert here.find_dead() == []


def test_a_child_does_not_keep_its_parent_alive(store: Path, here: ProcessFiles) -> None:
    process = started(store, "forks", FORK)
    forked = int(said(process))
    try:
        assert said(process) == "joined"
        assert here.find_dead() == []
        process.kill()
        process.wait(PATIENCE)
        assert os.kill(forked, 0) is None  # type: ignore[func-returns-value]
        assert here.find_dead() == ["forks"]
    finally:
        os.kill(forked, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


def test_a_program_that_is_started_does_not_have_the_lock(here: ProcessFiles) -> None:
    kept = """
import contextlib, os
for name in os.listdir("/proc/self/fd"):
    with contextlib.suppress(OSError):
        print(os.readlink(f"/proc/self/fd/{name}"))
"""
    done = subprocess.run([sys.executable, "-c", kept], close_fds=False, capture_output=True, text=True, check=True)
    assert str(here.folder) not in done.stdout


def test_of_an_owner_without_a_file_nothing_is_known(store: Path, here: ProcessFiles) -> None:
    process = another(store, "there")
    try:
        (here.folder / "there").unlink()
        assert here.find_dead() == []
    finally:
        kill(process)
    assert here.find_dead() == []


def test_a_process_sees_that_its_own_file_is_gone_and_goes_on(store: Path, here: ProcessFiles) -> None:
    assert here.is_visible
    (here.folder / "here").unlink()
    assert not here.is_visible
    kill(another(store, "there"))
    assert here.find_dead() == ["there"]
    (here.folder / "here").write_bytes(b"")  # somebody's copy
    assert not here.is_visible


def test_the_folder_can_be_removed(store: Path, here: ProcessFiles) -> None:
    (here.folder / "here").unlink()
    here.folder.rmdir()
    assert here.find_dead() == []
    kill(another(store, "there"))
    assert here.find_dead() == ["there"]
    here.leave()


@pytest.mark.parametrize("name", [".hidden", "with space", "a\nb", "x" * 200])
def test_what_else_lies_in_the_folder_is_left_alone(here: ProcessFiles, name: str) -> None:
    (here.folder / name).touch()
    (here.folder / "a_folder").mkdir()
    (here.folder / "a_link").symlink_to(here.folder / name)
    os.mkfifo(here.folder / "a_pipe")
    assert here.find_dead() == []


def test_the_files_are_its_users_own(here: ProcessFiles) -> None:
    assert stat.S_IMODE(here.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((here.folder / "here").stat().st_mode) == 0o600


def test_a_store_that_is_opened_by_a_link_has_the_same_files(store: Path, tmp_path: Path, here: ProcessFiles) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(store)
    kill(another(link, "there"))
    assert here.find_dead() == ["there"]


def test_where_the_folder_cannot_be_made_nobody_is_dead(store: Path) -> None:
    files = ProcessFiles(store, "here")
    files.folder.write_text("a file")
    with pytest.raises(OSError, match="exists"):
        files.join()
    assert not files.is_visible
    assert files.find_dead() == []
    files.leave()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, None])
def test_where_locks_do_not_work_nobody_is_dead(
    store: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    """As on some network mounts, of which there is none here: locks are refused, or refuse nobody."""
    kill(another(store, "there"))

    def flock(handle: int, operation: int) -> None:
        if number is not None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    files = ProcessFiles(store, "here")
    with pytest.raises(OSError, match=r"."):
        files.join()
    assert files.find_dead() == []
    assert [path.name for path in files.folder.iterdir()] == ["there"]


def test_an_owner_is_a_files_name_and_never_the_same() -> None:
    owners = {new_owner() for _ in range(100)}
    assert len(owners) == 100
    assert all(owner.replace("_", "").replace("-", "").isalnum() and len(owner) < 100 for owner in owners)
