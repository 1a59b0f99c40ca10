"""What a command does when its output cannot be written, or when something happens that no code expected.

Apart because it must work when nothing else does: it loads nothing but the standard library's smallest parts.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_ESCAPES = "tts-receiver-escapes"
_ROOT = str(Path(__file__).parent.parent.parent)


class OutputError(OSError):
    """Standard output cannot be written."""


class _Output(io.FileIO):
    """Standard output whose errors can be told from those of any other file."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from None


def prepare_output() -> None:
    """Make standard output name its errors, and both streams escape what the terminal's encoding lacks.

    Such a character is written as `\\uXXXX`, which whoever reads JSON understands, too.
    """
    codecs.register_error(_ESCAPES, _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout.flush()
        encoding, direct = sys.stdout.encoding, sys.stdout.line_buffering
        output = io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False))
        sys.stdout = io.TextIOWrapper(output, encoding, _ESCAPES, line_buffering=direct)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors=_ESCAPES)


def flush_output() -> None:
    """Write what is still in memory, while it can be said that it fails.

    Raises:
        OSError: it cannot be written.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


def report(error: Exception) -> None:
    """Say what happened on standard error: one sentence, and of a bug all that a report of it needs."""
    if isinstance(error, OutputError | BrokenPipeError):
        _discard_output()
    if isinstance(error, BrokenPipeError):
        return  # whoever read our output has gone, and wants no more of it
    if isinstance(error, OutputError):
        _say(f"Cannot write the output: {error.strerror}.")
    elif isinstance(error, OSError) and error.strerror:
        at = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _say(f"{at}{error.strerror}{_place(error)}.")
    elif isinstance(error, UnicodeDecodeError):
        _say(f"A file or the input is not text in {error.encoding.upper()}{_place(error)}.")
    else:
        import traceback

        from receiver.model.redact import Redactor

        text = Redactor()("".join(traceback.format_exception(error)))
        _say("This is a bug in the receiver. Please report it with the lines above.", text)


def _discard_output() -> None:
    """Send the rest of the output nowhere, so that the end of the process does not fail at it again."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def _say(sentence: str, before: str = "") -> None:
    from receiver.model.printable import printable_lines

    with contextlib.suppress(OSError, ValueError):  # standard error cannot be written, either
        print(printable_lines(f"{before}tts-receiver: {sentence}"), file=sys.stderr, flush=True)


def _place(error: BaseException) -> str:
    """Where in our own code it happened: the innermost line of it."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith((f"{_ROOT}{os.sep}receiver{os.sep}", f"{_ROOT}{os.sep}handlers{os.sep}")):
            found = f" (at {file.removeprefix(_ROOT + os.sep)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    escaped = ""
    for char in error.object[error.start : error.end]:
        code = ord(char)
        units = [code] if code < 0x10000 else [0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF)]
        escaped += "".join(f"\\u{unit:04x}" for unit in units)
    return escaped, error.end
