"""A terminal that is redrawn as a whole, and left as it was found.

Lines go to the alternate screen, so that what was there before is there again afterwards. Keys are read one by one,
and Ctrl-C and Ctrl-Z stay signals.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from receiver.cli.text_output import flush, write

FALLBACK = (80, 24)
_BEGIN = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""The alternate screen, no cursor, no line wrap, empty."""
_END = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


class Screen:
    """The terminal of standard output; keys come from standard input, if that is a terminal."""

    def __init__(self) -> None:
        self.keys = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._modes: list[Any] | None = None if self.keys is None else termios.tcgetattr(self.keys)

    def enter(self) -> None:
        """Begin to draw; also after the process was stopped."""
        if self.keys is not None:
            tty.setcbreak(self.keys, termios.TCSANOW)
        self._write(_BEGIN)

    def leave(self) -> None:
        """Leave the terminal as it was. A terminal that is gone is no error."""
        with suppress(OSError):
            self._write(_END)
        if self.keys is not None and self._modes is not None:
            with suppress(termios.error):
                termios.tcsetattr(self.keys, termios.TCSANOW, self._modes)

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            found = os.get_terminal_size(sys.stdout.fileno())
        except OSError:  # the terminal is gone
            return FALLBACK
        return found.columns or FALLBACK[0], found.lines or FALLBACK[1]

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, which have no control characters; the first is bold. Not on a terminal that is stopped."""
        waiting = select.poll()
        waiting.register(sys.stdout.fileno(), select.POLLOUT)
        if not waiting.poll(0):
            return
        first, *others = lines or [""]
        shown = [f"{_BOLD}{first}{_PLAIN}", *others]
        self._write(_HOME + "\r\n".join(line + _END_OF_LINE for line in shown) + _REST)

    def _write(self, text: str) -> None:
        write(text)
        flush()
