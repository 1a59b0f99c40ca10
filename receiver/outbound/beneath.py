"""Files and folders beneath one of the receiver's folders: symbolic links are not followed, and access is limited.

The path to the folder itself may contain links. The receiver creates the folder's content, and a link in there would
make it write audio to, or read it from, another place.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from receiver.durable_files import sync_folder

FOLDER_MODE = 0o750
FILE_MODE = 0o640
"""Modes of new folders and files, whatever the umask; a stricter umask makes them stricter."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def make_folders(folder: Path) -> None:
    """Make a folder and its parents unless they exist, each durable in its own parent. Links are followed.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir():
        return
    make_folders(folder.parent)
    try:
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder") from None
    sync_folder(folder.parent)


@contextmanager
def made_folder(root: Path, names: Sequence[str]) -> Iterator[int]:
    """The folder `names` beneath `root`, made if it does not exist, as a file descriptor.

    Raises:
        OSError: it cannot be made or opened, or its path contains a link (`strerror` says where).
    """
    try:
        handle = _walk(root, names)
    except FileNotFoundError:  # rare: nearly always they exist
        make_folders(root)
        handle = _walk(root, names, _make)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def opened_folder(root: Path, names: Sequence[str]) -> Iterator[int]:
    """The folder `names` beneath `root`, as a file descriptor.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: it cannot be opened, or its path contains a link (`strerror` says where).
    """
    handle = _walk(root, names)
    try:
        yield handle
    finally:
        os.close(handle)


def open_file(name: str, flags: int, folder: int, where: Path) -> int:
    """Open the file `name` in a folder, unless it is a link; created, if `flags` say so, with `FILE_MODE`.

    Args:
        where: the folder's path, for the error.

    Raises:
        OSError: it cannot be opened, or is a link (`strerror` says so).
    """
    try:
        return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE, dir_fd=folder)
    except OSError as error:
        raise _explained(error, folder, name, where / name) from None


def linked_folder(root: Path) -> str | None:
    """The name of a link to a folder in `root`, which would be refused; None without one, or without `root`."""
    with suppress(FileNotFoundError), os.scandir(root) as entries:
        return next((entry.name for entry in entries if entry.is_symlink() and entry.is_dir()), None)
    return None


def _walk(root: Path, names: Sequence[str], prepare: Callable[[str, int], None] | None = None) -> int:
    handle, path = os.open(root, _FOLDER_FLAGS), root
    try:
        for name in names:
            path = path / name
            if prepare is not None:
                prepare(name, handle)
            try:
                inner = os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=handle)
            except OSError as error:
                raise _explained(error, handle, name, path) from None
            os.close(handle)
            handle = inner
    except BaseException:
        os.close(handle)
        raise
    return handle


def _make(name: str, parent: int) -> None:
    try:
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)


def _explained(error: OSError, folder: int, name: str, path: Path) -> OSError:
    """The error, with a clear text if a link is the reason: the system reports `Not a directory`, for example."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        with suppress(OSError):
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                return OSError(errno.ELOOP, f"{path} is a symbolic link; links in the audio folder are not followed")
    return error
