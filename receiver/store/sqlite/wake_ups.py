"""Named pipes by which a command wakes the processes that share a SQLite store: each has one beside its lock file.

A pipe needs no server, and no path that is short enough for a socket. A process that gets no pipe, or misses a wake-up,
polls as before (docs/adr/0101).
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

PREFIX = ".wake-"
"""Of a pipe's name; the rest is the owner. Lock files have no such names."""
FILE_MODE = 0o600
READ_BYTES = 4096
MAX_PIPES = 100
"""How many processes a command wakes, at the most."""


def pipe_of(folder: Path, owner: str) -> Path:
    """The pipe of a process."""
    return folder / f"{PREFIX}{owner}"


class WakeUpPipe:
    """The pipe of the process `owner` in a folder, and the thread that reads it. `open` and `close` block.

    Args:
        woken: called in that thread after other processes have written; a burst may be one call.
    """

    def __init__(self, folder: Path, owner: str, woken: Callable[[], None]) -> None:
        self._path = pipe_of(folder, owner)
        self._woken = woken
        self._handle: int | None = None
        self._thread: threading.Thread | None = None
        self._is_closing = False

    def open(self) -> None:
        """Create the pipe, and start the thread; again, if it was removed.

        Raises:
            OSError: it cannot be created, or this file system has no named pipes.
        """
        self.close()
        hidden = self._path.with_name(f".new{self._path.name}")
        os.mkfifo(hidden, FILE_MODE)
        try:
            # For writing as well, so that it does not end with the first process that writes to it. It gets its name
            # when it is open: so a pipe that nobody reads belongs to a dead process.
            self._handle = os.open(hidden, os.O_RDWR | os.O_CLOEXEC)
            hidden.rename(self._path)
        except OSError:
            hidden.unlink(missing_ok=True)
            self.close()
            raise
        self._thread = threading.Thread(target=self._run, args=(self._handle,), name="store-wake", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; the file stays. In a forked child, which has no such thread, only close the handle."""
        handle, thread, self._handle, self._thread = self._handle, self._thread, None, None
        if handle is None:
            return
        if thread is not None and thread.is_alive():
            self._is_closing = True
            os.write(handle, b".")
            thread.join()
            self._is_closing = False
        os.close(handle)

    def _run(self, handle: int) -> None:
        while os.read(handle, READ_BYTES) and not self._is_closing:
            self._woken()


def wake_all(folder: Path) -> None:
    """Wake each process that has a pipe in the folder. Pipes of dead processes are removed."""
    with suppress(OSError), os.scandir(folder) as entries:
        pipes = islice((entry.path for entry in entries if entry.name.startswith(PREFIX)), MAX_PIPES)
        for path in list(pipes):
            with suppress(OSError):
                _wake(path)


def _wake(path: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nobody reads it
            Path(path).unlink(missing_ok=True)
        return
    try:
        if stat.S_ISFIFO(os.fstat(handle).st_mode):
            os.write(handle, b".")  # a full pipe wakes its process as well
    finally:
        os.close(handle)


def wake_after_commits(engine: Engine, folder: Path) -> None:
    """Let each transaction of the engine wake the processes, once it is committed."""

    class Announcing(sqlite3.Connection):
        def commit(self) -> None:
            super().commit()
            wake_all(folder)

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, record: Any, args: Any, options: dict[str, Any]) -> None:
        options["factory"] = Announcing

    engine.dispose()  # those that it has are not made so
