"""Prepare the standard streams of a command, even if they are closed or cannot be written.

A closed descriptor 0, 1 or 2 would be reused for the next file that is opened, such as a socket or the store, and
messages would then be written into it. Errors of standard output have a class of their own. Standard error raises none:
an error report that cannot be written must not hide the error. Both escape characters that the terminal's encoding
lacks.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from typing import TYPE_CHECKING

from receiver.model.printable import escaped_in_json

if TYPE_CHECKING:
    from typing_extensions import Buffer

_STREAMS = ("stdin", "stdout", "stderr")
_ESCAPES = "tts-receiver-escapes"


class OutputError(OSError):
    """Standard output cannot be written."""


def open_standard_streams() -> None:
    """Open closed streams on /dev/null, and make writing to standard error never fail.

    Characters that cannot be encoded are written as `\\uXXXX`, which is valid in JSON.
    """
    codecs.register_error(_ESCAPES, _escaped)
    for descriptor, name in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            _open_on_devnull(descriptor, name)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout.flush()
        encoding, direct = sys.stdout.encoding, sys.stdout.line_buffering
        output = io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False))
        sys.stdout = io.TextIOWrapper(output, encoding, _ESCAPES, line_buffering=direct)
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        errors = io.BufferedWriter(_BestEffortFile(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(errors, sys.stderr.encoding, _ESCAPES, line_buffering=True)


def flush_output() -> None:
    """Write buffered output while an error can still be reported.

    Raises:
        OSError: it cannot be written.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


def discard_output() -> None:
    """Send the rest of the output to /dev/null: its reader sees the end, and the interpreter does not fail at exit.

    Raises:
        OSError: /dev/null cannot be opened.
    """
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)


def _open_on_devnull(descriptor: int, name: str) -> None:
    opened = os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor: all below it are open
    os.set_inheritable(opened, True)
    mode = "r" if descriptor == 0 else "w"
    setattr(sys, name, open(descriptor, mode, encoding="utf-8", errors=_ESCAPES, closefd=False))  # noqa: SIM115


class _Output(io.FileIO):
    """Standard output. Its errors are `OutputError`, unlike those of other files."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from None


class _BestEffortFile(io.FileIO):
    """A file that never fails: what cannot be written is dropped."""

    def write(self, data: Buffer, /) -> int:
        """Write, waiting while the buffer is full."""
        try:
            while (count := super().write(data)) is None:  # a non-blocking descriptor
                waiting = select.poll()
                waiting.register(self, select.POLLOUT)
                waiting.poll()
        except OSError:
            return memoryview(data).nbytes
        return count


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """A `codecs` error handler that escapes characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(escaped_in_json, error.object[error.start : error.end])), error.end
