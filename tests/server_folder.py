"""Folders of servers that tests start: both are gone at the end of the test run, however that ends.

A server that has left its parent, as PostgreSQL's does, would outlive a test run that is killed. So a second process
waits for the end of a pipe that only the test process can write to. This module is its program, too: it imports nothing
of ours.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PROGRAMS = {"initdb", "pg_ctl", "pgbouncer", "postgres", "sh"}
"""What is ended if its command line names the folder: servers, and what would start one."""
_MOUNT = ["mount", "-t", "tmpfs", "-o"]
END_SECONDS = 20.0
"""How long a server may take to end by itself."""


@contextmanager
def server_folder(prefix: str) -> Iterator[Path]:
    """A new folder. At the end of the block, or of this process, its servers are ended and it is removed."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True) as waiting:
        try:
            yield folder
        finally:
            assert waiting.stdin is not None
            waiting.stdin.close()
    assert waiting.returncode == 0


def reason_for_no_small_disk() -> str | None:
    """Why this process cannot mount a file system; None if it can."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run([*_MOUNT, "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False)
        if mounted.returncode:
            return f"a file system of its own cannot be mounted here: {mounted.stderr.strip()}"
        subprocess.run(["umount", folder], check=True)
    return None


def mount_small_disk(folder: Path, megabytes: int) -> None:
    """Give a `server_folder` that is empty a disk of its own, in memory; it goes with the folder."""
    subprocess.run([*_MOUNT, f"size={megabytes}m,mode=0700", "tmpfs", folder], check=True)


def processes_of(folder: Path) -> list[psutil.Process]:
    """The servers of this folder, and what is about to start one."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] in PROGRAMS and any(str(folder) in word for word in process.info["cmdline"] or ())
    ]


def _end(folder: Path) -> None:
    kill_at = time.monotonic() + END_SECONDS
    while processes := processes_of(folder):
        for process in processes:
            by_itself = process.info["name"] == "postgres" and time.monotonic() < kill_at
            with suppress(psutil.NoSuchProcess):  # PostgreSQL ends at once, and removes its shared memory
                process.send_signal(signal.SIGQUIT if by_itself else signal.SIGKILL)
        time.sleep(0.02)
    if folder.is_mount():  # `mount_small_disk`
        subprocess.run(["umount", "--lazy", folder], check=False)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    _end(Path(sys.argv[1]))
