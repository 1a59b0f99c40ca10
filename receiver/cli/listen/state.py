"""What `listen` keeps on this machine: for each receiver and local address its position, and one signing secret.

A position is on disk before the next event is handed over. So after a kill at most the event in flight is handed over
again. A lock keeps a second process from handing the same events over as well.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receiver.cli.listen.errors import ListenError
from receiver.cli.listen.stream import EVENT_ID
from receiver.cli.secret_file import new_secret
from receiver.durable_files import OverwritePolicy, sync_folder, write_durably
from receiver.model.secret_text import secret_lines
from receiver.os_errors import cause_and_advice
from receiver.settings.small_file import read_small_file

FOLDER_MODE, FILE_MODE = 0o700, 0o600
SECRET_NAME = "secret"  # noqa: S105 - a file's name


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it has come.

    Attributes:
        position: the event up to which everything was handed over; or a time in the form of an id.
        complete_until: up to when all that the receiver got was handed over: unix seconds of its clock.
    """

    position: str
    complete_until: float


def state_folder(environment: dict[str, str] | os._Environ[str]) -> Path:
    """The folder, by the XDG base directories.

    Raises:
        ListenError: there is no home folder.
    """
    named = Path(environment.get("XDG_STATE_HOME", ""))
    try:
        base = named if named.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:
        raise ListenError("There is no home folder for the position: set XDG_STATE_HOME to a folder.") from None
    return base / "tts-receiver" / "listen"


class StateFile:
    """The position for one receiver and one local address. Created by `open_state`."""

    def __init__(self, path: Path, remote: str, forward: str) -> None:
        self.path = path
        self._remote = remote
        self._forward = forward

    def read(self) -> Progress | None:
        """How far it has come; None if it has not begun.

        Raises:
            ListenError: the file cannot be read.
        """
        try:
            text, _ = read_small_file(self.path)
            value = json.loads(text)
            position, until = value["position"], value["complete_until"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise self._damaged() from None
        if not (isinstance(position, str) and EVENT_ID.match(position) and isinstance(until, int | float)):
            raise self._damaged()
        return Progress(position, float(until))

    def write(self, progress: Progress) -> None:
        """Keep it. It is on disk when this returns.

        Raises:
            ListenError: it cannot be written.
        """
        value: dict[str, Any] = {
            "receiver": self._remote,
            "forward": self._forward,
            "position": progress.position,
            "complete_until": progress.complete_until,
        }
        try:
            write_durably(self.path, json.dumps(value, indent=1).encode() + b"\n", FILE_MODE, OverwritePolicy.REPLACE)
        except OSError as error:
            raise ListenError(f"{self.path} cannot be written: {cause_and_advice(error)}") from None

    def _damaged(self) -> ListenError:
        return ListenError(
            f"{self.path} has no position that can be read. With --reset it is replaced: add --since to begin with "
            "earlier events."
        )


@contextmanager
def open_state(folder: Path, remote: str, forward: str) -> Iterator[StateFile]:
    """The position for these two, which no other process may have open.

    Raises:
        ListenError: another process has it, or the folder cannot be used.
    """
    name = hashlib.sha256(f"{remote}\n{forward}".encode()).hexdigest()[:16]
    try:
        make_folder(folder)
        handle = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ListenError(
                f"Another listen hands events of {remote} to {forward}. Stop it, or name another --forward."
            ) from None
        except OSError as error:
            raise _unusable(folder, error) from None
        yield StateFile(folder / f"{name}.json", remote, forward)
    finally:
        os.close(handle)


def kept_secret(folder: Path) -> str:
    """The signing secret of this machine's user, created the first time.

    Raises:
        ListenError: it cannot be read or written.
    """
    path = folder / SECRET_NAME
    try:
        make_folder(folder)
        if not path.exists():
            with suppress(FileExistsError, BlockingIOError):  # another process creates it at this moment
                write_durably(path, f"{new_secret()}\n".encode(), FILE_MODE, OverwritePolicy.REFUSE)
        text, _ = read_small_file(path)
        (secret,) = secret_lines(text)
    except OSError as error:
        raise _unusable(folder, error) from None
    except ValueError as error:
        raise ListenError(f"{path} has no usable secret ({error}). Delete it: a new one is created.") from None
    return secret


def make_folder(folder: Path) -> None:
    """Create the folder, for this user only, durably.

    Raises:
        OSError: it cannot be created.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(FOLDER_MODE, exist_ok=True)
        sync_folder(one.parent)


def _unusable(folder: Path, error: OSError) -> ListenError:
    return ListenError(f"{folder} cannot be used: {cause_and_advice(error)}")
