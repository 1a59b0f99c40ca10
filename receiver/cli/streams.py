"""The standard streams of a command, in whatever state it was started.

A closed descriptor 0, 1 or 2 would be given to the next file that is opened: a socket or the store, into which messages
are then written. And an error that cannot be told must not become another one: who reads standard error may have gone.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any

_STREAMS = ("stdin", "stdout", "stderr")


def open_standard_streams() -> None:
    """Open what is closed on /dev/null; from now on nothing that is written to standard error fails."""
    for descriptor, name in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            _open_on_nothing(descriptor, name)
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        raw = _Unfailing(2, "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), sys.stderr.encoding, sys.stderr.errors, line_buffering=True
        )


def _open_on_nothing(descriptor: int, name: str) -> None:
    opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: all below are open
    os.set_inheritable(opened, True)
    mode = "r" if descriptor == 0 else "w"
    setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


class _Unfailing(io.FileIO):
    """A file that takes everything: what cannot be written is dropped."""

    def write(self, data: Any) -> int:
        """Write, waiting for room."""
        try:
            while (count := super().write(data)) is None:  # a descriptor that does not block
                waiting = select.poll()
                waiting.register(self, select.POLLOUT)
                waiting.poll()
        except OSError:
            return len(data)
        return count
