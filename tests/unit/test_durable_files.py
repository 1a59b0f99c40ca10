"""Publishing files: whole or not at all, whenever the process is killed, and nothing is left behind for ever."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver import durable_files
from receiver.durable_files import (
    OverwritePolicy,
    move_durably,
    remove_abandoned,
    temporary_file,
    write_durably,
)

REFUSE, REPLACE = OverwritePolicy.REFUSE, OverwritePolicy.REPLACE
OLD, NEW = b"old", b"new" * 100_000
HERE = Path(__file__)
PACKAGE = HERE.parents[2] / "receiver"

# Runs the publication in forked processes: the first kills itself at the first line of `durable_files` that it
# executes, the second at the second line, and so on until one gets through.
KILLED_AT_EVERY_LINE = """
import os, shutil, signal, sys
from pathlib import Path
from receiver import durable_files
from receiver.durable_files import OverwritePolicy, move_durably, write_durably
root, way, source, old, new = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), b"old", b"new" * 100_000

def publish(folder):
    target = folder / "target"
    if way == "move":
        part = source / folder.name
        part.write_bytes(new)
        handle = os.open(folder, os.O_RDONLY)
        sys.settrace(trace)
        move_durably(part, handle, "target", 0o640)
    else:
        sys.settrace(trace)
        write_durably(target, new, 0o600, OverwritePolicy(way))

def trace(frame, event, arg):
    global left
    if frame.f_code.co_filename != durable_files.__file__:
        return None
    if event == "line":
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace

os.umask(0)
for number in range(1000):
    left = number
    folder = root / f"{number:04d}"
    folder.mkdir()
    if way != "refuse":
        (folder / "target").write_bytes(old)
    child = os.fork()
    if not child:
        publish(folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        sys.exit(os.waitstatus_to_exitcode(status))
sys.exit("it never got through")
"""


def kill_at_every_line(root: Path, way: str, source: Path) -> list[Path]:
    """Folders, each as one killed process left it; the last one got through."""
    subprocess.run([sys.executable, "-c", KILLED_AT_EVERY_LINE, root, way, source], check=True, timeout=120)
    return sorted(root.iterdir())


def temporaries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != "target"]


@pytest.mark.parametrize("way", ["refuse", "replace", "move"])
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one_and_what_it_leaves_is_swept(
    tmp_path: Path, way: str
) -> None:
    root = tmp_path / "killed"
    root.mkdir()
    spool = tmp_path / "spool"
    spool.mkdir()
    folders = kill_at_every_line(root, way, spool)
    left, published = 0, 0
    for folder in folders:
        target = folder / "target"
        content = target.read_bytes() if target.exists() else None
        assert content in ((None, NEW) if way == "refuse" else (OLD, NEW)), folder
        published += content == NEW
        left += len(temporaries(folder))
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in temporaries(folder))
        if content == NEW:
            remove_abandoned(target)
        else:
            write_durably(target, b"later", 0o600, REPLACE)
        assert temporaries(folder) == []
    assert published >= 2
    assert folders[-1].joinpath("target").read_bytes() == NEW
    if way != "move":
        assert left > 3


def test_a_move_from_another_file_system_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    if not Path("/dev/shm").is_dir() or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system to write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        for folder in kill_at_every_line(tmp_path, "move", Path(elsewhere)):
            content = (folder / "target").read_bytes()
            assert content in (OLD, NEW)
            assert content == NEW or (Path(elsewhere) / folder.name).read_bytes() == NEW
            remove_abandoned(folder / "target")
            assert temporaries(folder) == []


def test_the_content_is_on_the_disk_before_its_name_and_the_name_before_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noted(function: Callable[..., None], step: Callable[[object], str]) -> Callable[..., None]:
        def call(*args: object, **options: object) -> None:
            function(*args, **options)
            steps.append(step(args[0]))

        return call

    kind = lambda handle: "folder synced" if os.path.isdir(f"/proc/self/fd/{handle}") else "file synced"  # noqa: E731
    monkeypatch.setattr(durable_files.os, "fsync", noted(os.fsync, kind))
    for name in ("replace", "link", "rename"):
        monkeypatch.setattr(durable_files.os, name, noted(getattr(os, name), lambda _: "named"))
    write_durably(tmp_path / "a", b"x", 0o600, REFUSE)
    write_durably(tmp_path / "a", b"y", 0o600, REPLACE)
    (tmp_path / "part").write_bytes(b"z")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        move_durably(tmp_path / "part", folder, "a", 0o640)
    finally:
        os.close(folder)
    assert steps == ["file synced", "named", "folder synced"] * 3


def test_a_name_that_is_taken_is_refused_or_replaced(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_durably(target, b"one", 0o600, REFUSE)
    with pytest.raises(FileExistsError):
        write_durably(target, b"two", 0o600, REFUSE)
    assert target.read_bytes() == b"one"
    write_durably(target, b"two", 0o600, REPLACE)
    assert target.read_bytes() == b"two"
    assert temporaries(tmp_path) == []


def test_where_there_are_no_hard_links_a_name_that_is_taken_is_refused_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(durable_files.os, "link", refuse)
    target = tmp_path / "target"
    write_durably(target, b"one", 0o600, REFUSE)
    with pytest.raises(FileExistsError):
        write_durably(target, b"two", 0o600, REFUSE)
    assert target.read_bytes() == b"one"
    assert temporaries(tmp_path) == []


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with temporary_file(target, 0o600) as file:
        file.append(b"first")
        with pytest.raises(BlockingIOError, match="another process is writing"):
            write_durably(target, b"second", 0o600, REPLACE)
        remove_abandoned(target)
        file.publish(REPLACE)
    assert target.read_bytes() == b"first"


def test_a_planted_file_is_not_written_to(tmp_path: Path) -> None:
    """Somebody who may write into the folder does not get to read a secret through a file that he has open."""
    target = tmp_path / "target"
    with temporary_file(target, 0o600):
        [name] = temporaries(tmp_path)
    with name.open("w+b") as planted:
        write_durably(target, b"secret", 0o600, REPLACE)
        assert planted.read() == b""
    name.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        write_durably(target, b"secret", 0o600, REPLACE)
    assert not (tmp_path / "elsewhere").exists()


def test_a_thread_that_comes_late_does_not_write_into_another_file(tmp_path: Path) -> None:
    with temporary_file(tmp_path / "target", 0o600) as file:
        pass
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)  # gets the number of the handle that was closed
    try:
        late: list[BaseException] = []

        def write() -> None:
            for step in (lambda: file.append(b"x"), lambda: file.publish(REPLACE), lambda: file.reserve(10)):
                try:
                    step()
                except OSError as error:
                    late.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        thread.join(timeout=60)
        assert len(late) == 3
        assert os.fstat(other).st_size == 0
        assert not (tmp_path / "target").exists()
    finally:
        os.close(other)


RENAMES = {
    "durable_files.py",
    "outbound/part.py",  # a partial file's own metadata, which is checked when it is read
    "store/sqlite/processes.py",  # a lock file, which must appear with its lock and need not survive a power cut
    "store/sqlite/wake_ups.py",  # a pipe, likewise with its reader
}


def test_only_one_module_publishes_files_durably() -> None:
    """A module that renames files has a version of its own of what `durable_files` does, unless it is named here."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        if any(_renames(call) for call in calls):
            found.add(path.relative_to(PACKAGE).as_posix())
    assert found == RENAMES


def _renames(call: ast.Call) -> bool:
    """Whether it is a call of `os.rename(…)`, `path.replace(…)` or the like; `str.replace` has two arguments."""
    match call.func:
        case ast.Attribute(value=ast.Name(id="os" | "shutil"), attr="replace" | "rename" | "renames" | "link" | "move"):
            return True
        case ast.Attribute(attr="replace" | "rename" | "hardlink_to"):
            return len(call.args) == 1
    return False
