"""Reads small text files of an operator, up to a maximum size and without blocking."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_FILE_BYTES = 65_536
"""A file of secrets has a few hundred bytes."""


def read_small_file(path: Path) -> tuple[str, int]:
    """The text of a file, without a byte order mark at its beginning, and its mode bits.

    Raises:
        FileNotFoundError: it does not exist.
        ValueError: it cannot be read, is not a file, is too long, or not UTF-8; the message has path and reason.
    """
    try:
        with open(path, "rb", opener=_open_without_blocking) as file:  # Path.open takes no opener
            opened = os.fstat(file.fileno())  # not of the path, which may name another file by now
            content = file.read(MAX_FILE_BYTES + 1) if stat.S_ISREG(opened.st_mode) else None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if content is None:
        raise ValueError(f"{path} is not a file")
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{path} has more than {MAX_FILE_BYTES} bytes; a file of secrets is smaller")
    try:
        return content.decode("utf-8-sig"), stat.S_IMODE(opened.st_mode)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} is not text in UTF-8 (line {line}); save it in that encoding") from None


def _open_without_blocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe must not block the start
