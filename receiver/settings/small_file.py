"""A small text file that an operator wrote: read whole, bounded, and at once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_FILE_BYTES = 65_536
"""Bytes. A file of secrets has a few hundred."""


def read_small_file(path: Path) -> tuple[str, int]:
    """The text of a file, without a byte order mark at its beginning, and its mode bits.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it cannot be read, is no file, too long, or not UTF-8; the message names file and reason.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:  # Path.open takes no opener
            about = os.fstat(file.fileno())  # of the file that was opened: the name may point to another by now
            content = file.read(MAX_FILE_BYTES + 1) if stat.S_ISREG(about.st_mode) else None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if content is None:
        raise ValueError(f"{path} is not a file")
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{path} has more than {MAX_FILE_BYTES} bytes: that is no file of secrets")
    try:
        return content.decode("utf-8-sig"), stat.S_IMODE(about.st_mode)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} is not text in UTF-8 (line {line}); save it as such") from None


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe must not hold up the start
