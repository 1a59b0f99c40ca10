"""Reads a file from outside within bounds of bytes, steps and time, whatever its content.

Facts are read in a worker thread, and a thread cannot be stopped. So the container readers get every byte from this
reader and count every iteration with it, and it raises at a bound. About every millisecond it sleeps: a thread that
computes makes an event loop wait 5 ms for Python's lock at every iteration.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import BinaryIO

from receiver.clock import Clock, SystemClock

MAX_BYTES = 256 << 20
"""Bytes read of one file: 4.6 hours of MP3 at 128 kbit/s."""
MAX_STEPS = 500_000
"""Frames, pages, chunks, boxes or candidates of one file: 3 hours of MP3. About half a second of CPU."""
MAX_SECONDS = 5.0
"""From the first byte to the last, also if the disk is slow."""
WINDOW = 64 << 10
"""Bytes of one refill, and the maximum for `read_at`."""

_STEPS_BETWEEN_RESTS = 1024
_REST_SECONDS = 0.0005


class Unreadable(Exception):
    """The facts are not in the file, or cannot be read within the bounds."""


@dataclass(slots=True)
class FoundFacts:
    """The facts found so far; they are kept if the rest is unreadable.

    Attributes:
        duration: in seconds.
        sample_rate: in Hz.
        channels: how many.
    """

    duration: float | None = None
    sample_rate: int | None = None
    channels: int | None = None


class Reader:
    """Reads a file's bytes at any position.

    Args:
        file: opened for reading, unbuffered.
        clock: for the time limit.
    """

    def __init__(self, file: BinaryIO, clock: Clock | None = None) -> None:
        self._handle = file.fileno()
        self.size = os.fstat(self._handle).st_size
        self._clock = clock or SystemClock()
        self._deadline = self._clock.monotonic() + MAX_SECONDS
        self._left, self._steps = MAX_BYTES, 0
        self._window, self._start = b"", 0

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on; fewer only at the end of the file. `count` is at most `WINDOW`.

        Raises:
            Unreadable: a bound is reached.
            OSError: the file cannot be read.
        """
        self.step()
        place = offset - self._start
        if place < 0 or place + count > len(self._window):
            self._refill(offset)
            place = 0
        return self._window[place : place + count]

    def read_exactly(self, offset: int, count: int) -> bytes:
        """Like `read_at`, but exactly `count` bytes.

        Raises:
            Unreadable: the file ends before; or as `read_at`.
        """
        data = self.read_at(offset, count)
        if len(data) < count:
            raise Unreadable("the file ends within its headers")
        return data

    def find(self, word: bytes, start: int, end: int | None = None) -> int | None:
        """The next position of `word`, from `start` on and wholly before `end`; None if there is none.

        Raises:
            Unreadable, OSError: as `read_at`.
        """
        end = self.size if end is None else min(end, self.size)
        while start + len(word) <= end:
            piece = self.read_at(start, min(WINDOW, end - start))
            place = piece.find(word)
            if place >= 0:
                return start + place
            start += max(1, len(piece) - len(word) + 1)
        return None

    def step(self, count: int = 1) -> None:
        """Count `count` steps of a loop.

        Raises:
            Unreadable: a bound is reached.
        """
        before = self._steps // _STEPS_BETWEEN_RESTS
        self._steps += count
        if self._steps // _STEPS_BETWEEN_RESTS != before:
            if self._steps > MAX_STEPS:
                raise Unreadable("the file has too many parts")
            self._check_clock()
            time.sleep(_REST_SECONDS)

    def _refill(self, offset: int) -> None:
        self._check_clock()
        if offset < 0:
            raise Unreadable("the headers point before the beginning of the file")
        if offset >= self.size:
            self._window, self._start = b"", offset
            return
        self._window, self._start = os.pread(self._handle, WINDOW, offset), offset
        self._left -= len(self._window)
        if self._left < 0:
            raise Unreadable("the headers are too long to be read")

    def _check_clock(self) -> None:
        if self._clock.monotonic() > self._deadline:
            raise Unreadable("reading the headers takes too long")
