"""Writes log lines in a thread: code that logs never waits for the stream, and never fails with it.

Lines wait in memory, within bounds, until they are written. A full disk, a reader that has gone or reads nothing, a
lost terminal: the thread tries again, lines that do not fit are dropped and counted, and one line says so afterwards.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from receiver.logs.sinks import TOO_SLOW, Sink, cause_of

GATHER_SECONDS = 0.05
"""How long an info line may wait in memory: a system call a line costs the intake a tenth."""
RETRY_SECONDS = 1.0
"""How long after a failed write the next one is tried."""
EXIT_SECONDS = 1.0
"""How long the end of the process may wait for the last lines."""
MAX_LINES = 10_000
"""Lines that may wait."""
MAX_CHARACTERS = 4 * 1024 * 1024
"""Characters that may wait; as many again may be on their way to the stream."""


class Later(Protocol):
    """Lines that come by time rather than by a call."""

    def seconds(self) -> float | None:
        """Until the next of them is due; None if none is."""

    def due(self) -> list[str]:
        """Those that are due now."""

    def rest(self) -> list[str]:
        """All that are to come, because this is the end."""


class LogWriter:
    """Lines on their way to a sink. Thread-safe, and safe in a finalizer that runs in the middle of a call.

    Args:
        report: makes the line that counts dropped lines by cause.
        later: lines that come by time.
    """

    def __init__(self, sink: Sink, report: Callable[[Mapping[str, int]], str], later: Later) -> None:
        self._sink = sink
        self._report = report
        self._later = later
        self._trouble: str | None = None
        self._dropped: Counter[str] = Counter()
        self.reset()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=partial(_reset, weakref.ref(self)))

    def reset(self) -> None:
        """Begin empty. Also in a forked child, which has no thread and a lock that somebody may hold."""
        self._lock = threading.RLock()
        self._lines: list[str] = []
        self._size = 0
        self._unreported: Counter[str] = Counter()
        self._signals: queue.SimpleQueue[threading.Event | None] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._gathering = False
        self._urgent = False
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many lines were dropped since the start, by cause."""
        with self._lock:
            return dict(self._dropped)

    def put(self, line: str) -> None:
        """Have a line written within `GATHER_SECONDS`."""
        self._take_in(line)
        if not self._gathering:
            self._gathering = True
            self._signal(None)

    def put_urgent(self, line: str) -> None:
        """Have a line written at once, with all before it."""
        self._take_in(line)
        if not self._urgent:
            self._urgent = True
            self._signal(_NOW)

    def flush(self, seconds: float = EXIT_SECONDS) -> bool:
        """Whether all lines so far were written within this time."""
        written = threading.Event()
        self._signal(written)
        return written.wait(seconds)

    def close(self, seconds: float = EXIT_SECONDS) -> None:
        """Write what waits, if that is possible within this time. What comes after is not written."""
        atexit.unregister(self.close)
        self._ending.set()
        self._signal(_NOW)
        if self._thread is not None:
            self._thread.join(seconds)

    def _take_in(self, line: str) -> None:
        with self._lock:
            if len(self._lines) < MAX_LINES and self._size + len(line) <= MAX_CHARACTERS:
                self._lines.append(line)
                self._size += len(line)
            else:
                cause = self._trouble or TOO_SLOW
                self._dropped[cause] += 1
                self._unreported[cause] += 1

    def _signal(self, signal: threading.Event | None) -> None:
        self._signals.put(signal)  # the one way to wake a thread that a finalizer may use in the middle of it
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no thread for us, or the interpreter ends: the next line tries again
            self._thread = None
            self._gathering = self._urgent = False

    # the thread

    def _run(self) -> None:
        waiting: list[threading.Event] = []
        while not self._ending.is_set():
            waiting += self._next_signals()
            self._gathering = self._urgent = False
            self._write(self._later.due())
            while waiting:
                waiting.pop().set()
        self._write(self._later.rest())

    def _next_signals(self) -> list[threading.Event]:
        """Wait until there is something to write; who waits for it."""
        try:
            signal = self._signals.get(timeout=self._later.seconds())
            if signal is None:  # an ordinary line: gather more
                signal = self._signals.get(timeout=GATHER_SECONDS)
        except queue.Empty:
            return []
        return [] if signal is None else [signal]

    def _write(self, due: list[str]) -> None:
        """Write all that waits, and these lines."""
        while data := self._waiting(due):
            due = []
            self._write_through(data)

    def _waiting(self, due: list[str]) -> bytes:
        with self._lock:
            lines, self._lines, self._size = self._lines, [], 0
            dropped, self._unreported = self._unreported, Counter()
        lines += due
        if dropped:
            lines.append(self._report(dropped))
        return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")

    def _write_through(self, data: bytes) -> None:
        """Write, and try again until it works or the process ends."""
        position = 0
        while position < len(data):
            ending = self._ending.is_set()
            try:
                position += self._sink.write(memoryview(data)[position:])
                self._trouble = None
            except Exception as error:  # noqa: BLE001 - no error of a stream may end this thread
                self._trouble = cause_of(error)
                data, position = _from_the_broken_line(data, position), 0
                if ending:
                    return
                self._ending.wait(RETRY_SECONDS)


def _reset(reference: weakref.ref[LogWriter]) -> None:
    writer = reference()
    if writer is not None:
        writer.reset()


_NOW = threading.Event()
"""A signal without a waiter."""


def _from_the_broken_line(data: bytes, position: int) -> bytes:
    """What is left to write: a line that was written in part is written again as a line of its own."""
    begun = data.rfind(b"\n", 0, position) + 1
    return b"\n" + data[begun:] if begun < position else data[begun:]
