"""A file from outside, read in bounded bytes, steps and time, whatever its content.

Reading facts runs in a worker thread, and a thread cannot be stopped. So the container readers ask this reader for
every byte and count every loop with it, and the reader ends the work. Every millisecond or so it rests: a thread that
calculates makes each event loop wait 5 ms for Python's lock at every turn.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import BinaryIO

from receiver.clock import Clock, SystemClock

MAX_BYTES = 256 << 20
"""Read of one file, in bytes: 4.6 hours of MP3 at 128 kbit/s."""
MAX_STEPS = 500_000
"""Frames, pages, chunks, boxes or candidates of one file: 3 hours of MP3. About half a second of CPU."""
MAX_SECONDS = 5.0
"""From the first byte to the last, also where the disk is slow."""
WINDOW = 64 << 10
"""Bytes of one refill, and the maximum for `at`."""

_STEPS_BETWEEN_RESTS = 1024
_REST_SECONDS = 0.0005


class Unreadable(Exception):
    """The file does not say, or not within the bounds."""


@dataclass(slots=True)
class Found:
    """The facts found so far; they stay if the rest is unreadable.

    Attributes:
        duration: in seconds.
        sample_rate: in Hz.
        channels: how many.
    """

    duration: float | None = None
    sample_rate: int | None = None
    channels: int | None = None


class Reader:
    """A file's bytes at any place.

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

    def at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on; fewer only at the end of the file. `count` is at most `WINDOW`.

        Raises:
            Unreadable: a bound is reached.
            OSError: the disk.
        """
        self.step()
        place = offset - self._start
        if place < 0 or place + count > len(self._window):
            self._refill(offset)
            place = 0
        return self._window[place : place + count]

    def exactly(self, offset: int, count: int) -> bytes:
        """Like `at`, but all of them.

        Raises:
            Unreadable: the file ends before; or as `at`.
        """
        data = self.at(offset, count)
        if len(data) < count:
            raise Unreadable("the file ends within its headers")
        return data

    def find(self, word: bytes, start: int, end: int | None = None) -> int | None:
        """The next position of `word`, from `start` on and wholly before `end`; None if there is none.

        Raises:
            Unreadable, OSError: as `at`.
        """
        end = self.size if end is None else min(end, self.size)
        while start + len(word) <= end:
            piece = self.at(start, min(WINDOW, end - start))
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
