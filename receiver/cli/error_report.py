"""Report that the output cannot be written, or that an unexpected error occurred.

A separate module because it must work when others fail: it imports few and small modules.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.cli.streams import OutputError, discard_output

if TYPE_CHECKING:
    from receiver.errors import ReceiverError

_ROOT = str(Path(__file__).parent.parent.parent)


OVER_BUDGET = 3
"""The exit status of a command that submits speech, if the budget of the day has no place for it."""


def exit_code(error: ReceiverError) -> int:
    """The exit status for an error of ours."""
    return OVER_BUDGET if error.reason == "budget_exceeded" else 1


def lines_of(error: ReceiverError) -> list[str]:
    """An error of ours as lines for standard error."""
    from receiver.errors import ConfigError

    if isinstance(error, ConfigError):
        return ["tts-receiver: the configuration cannot be used:", *(f"  {problem}" for problem in error.problems)]
    return f"tts-receiver: {error}".split("\n")


def report(error: Exception) -> None:
    """Write the error to standard error: one sentence, and for a bug its traceback."""
    if isinstance(error, OutputError | BrokenPipeError):
        with contextlib.suppress(OSError, ValueError):
            discard_output()
    if isinstance(error, BrokenPipeError):
        return  # the reader closed the pipe
    if isinstance(error, OutputError):
        _print(f"Cannot write the output: {error.strerror}.")
    elif isinstance(error, OSError) and error.strerror:
        at = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _print(f"{at}{error.strerror}{_location(error)}.")
    elif isinstance(error, UnicodeDecodeError):
        _print(f"A file or the input is not text in {error.encoding.upper()}{_location(error)}.")
    elif isinstance(error, UnicodeEncodeError) and _is_no_text(error):
        from receiver.model.redact import Redactor, truncate

        shown = truncate(Redactor()(error.object), 100).encode("ascii", "backslashreplace").decode("ascii")
        _print(f"This is not text in UTF-8: {shown}")
    else:
        import traceback

        from receiver.model.redact import Redactor

        text = Redactor()("".join(traceback.format_exception(error)))
        _print("This is a bug in the receiver. Please report it with the lines above.", text)


def _is_no_text(error: UnicodeEncodeError) -> bool:
    """Whether it is about bytes that are no UTF-8: Python has them in the command's words as lone surrogates."""
    return all("\ud800" <= char <= "\udfff" for char in error.object[error.start : error.end])


def _print(sentence: str, before: str = "") -> None:
    from receiver.model.printable import printable_lines

    with contextlib.suppress(OSError, ValueError):  # standard error cannot be written, either
        print(printable_lines(f"{before}tts-receiver: {sentence}"), file=sys.stderr, flush=True)


def _location(error: BaseException) -> str:
    """The innermost frame of the traceback in our own code, as text."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith((f"{_ROOT}{os.sep}receiver{os.sep}", f"{_ROOT}{os.sep}handlers{os.sep}")):
            found = f" (at {file.removeprefix(_ROOT + os.sep)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found
