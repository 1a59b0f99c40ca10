"""A terminal in which a command runs: its size, its keys, and what is on its screen."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.acceptance.support import clean_environment
from tests.patience import PATIENCE

_OWN = "import fcntl, os, sys, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\nos.execv(sys.argv[1], sys.argv[1:])"
"""Makes the terminal that of the process, so that its keys are signals."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A pseudo terminal.

    Attributes:
        written: all that was written to it so far.
    """

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self._ours, self._theirs = os.openpty()
        self.written = b""
        self.resize(columns, lines)
        self._modes = self.modes()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):  # it is closed
            while piece := os.read(self._ours, 65536):
                self.written += piece

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size; the process that it is that of gets SIGWINCH."""
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def modes(self) -> list[Any]:
        """How it treats input and output."""
        return termios.tcgetattr(self._theirs)

    def is_restored(self) -> bool:
        """Whether it is as it was: its modes, the ordinary screen, the cursor and line wrap."""
        ends = [self.written.rfind(sequence) for sequence in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?7h")]
        begins = [self.written.rfind(sequence) for sequence in (b"\x1b[?1049h", b"\x1b[?25l", b"\x1b[?7l")]
        return self.modes() == self._modes and all(end > begin for begin, end in zip(begins, ends, strict=True))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def screen(self) -> list[str]:
        """The lines of the last frame that is complete; none before the first."""
        frames = re.findall(r"\x1b\[H((?:(?!\x1b\[H).)*?)\x1b\[J", self.written.decode("utf-8", "replace"), re.DOTALL)
        return _ESCAPES.sub("", frames[-1]).split("\r\n") if frames else []

    @contextmanager
    def run(self, folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command of `tts-receiver` in it; ended afterwards."""
        process = subprocess.Popen(
            [sys.executable, "-c", _OWN, sys.executable, "-m", "receiver", *words],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            cwd=folder,
            env=clean_environment(TERM="xterm", TTS_RECEIVER_CONFIG=str(folder / "receiver.toml")),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(PATIENCE)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._theirs)
        self._thread.join(PATIENCE)
        os.close(self._ours)


def fits(screen: Sequence[str], columns: int, lines: int) -> bool:
    """Whether a frame fits a terminal of this size."""
    from rich.cells import cell_len

    return 0 < len(screen) <= lines and all(cell_len(line) <= columns for line in screen)
