"""Writes log lines in a thread: code that logs never waits for the stream, and never fails with it.

Lines wait in memory, within bounds, until they are written. If writing fails or blocks (a full disk, a reader that has
ended or does not read, a lost terminal) the thread retries, lines beyond the bounds are dropped and counted, and one
line reports them afterwards.
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

BATCH_SECONDS = 0.05
"""How long an info line may wait in memory: one system call for each would slow the intake by a tenth."""
RETRY_SECONDS = 1.0
"""The time between a failed write and the next one."""
EXIT_SECONDS = 1.0
"""How long the end of the process may wait for the last lines."""
MAX_WAITING_LINES = 10_000
"""Lines that may wait in memory."""
MAX_WAITING_CHARACTERS = 4 * 1024 * 1024
"""Characters that may wait; as many again may be in a write."""


class ScheduledLines(Protocol):
    """Lines that become due at a time, without a call."""

    def seconds_until_due(self) -> float | None:
        """Seconds until the next one is due; None if there is none."""

    def due_lines(self) -> list[str]:
        """The lines that are due now."""

    def remaining_lines(self) -> list[str]:
        """All lines that are not due yet, because the writer ends."""


class LogWriter:
    """Writes lines to a sink. Thread-safe, and safe in a finalizer that runs in the middle of a call.

    Args:
        report: returns the line that counts dropped lines by cause.
        scheduled: lines that become due at a time.
    """

    def __init__(self, sink: Sink, report: Callable[[Mapping[str, int]], str], scheduled: ScheduledLines) -> None:
        self._sink = sink
        self._report = report
        self._scheduled = scheduled
        self._failure: str | None = None
        self._dropped: Counter[str] = Counter()
        self.reset()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=partial(_reset, weakref.ref(self)))

    def reset(self) -> None:
        """Start empty. Also in a forked child, which has no thread, and a lock that another thread may have held."""
        self._lock = threading.RLock()
        self._lines: list[str] = []
        self._size = 0
        self._unreported: Counter[str] = Counter()
        self._signals: queue.SimpleQueue[threading.Event | None] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._batching = False
        self._urgent = False
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> Mapping[str, int]:
        """The number of lines dropped since the start, by cause."""
        with self._lock:
            return dict(self._dropped)

    def put(self, line: str) -> None:
        """Write a line within `BATCH_SECONDS`."""
        self._enqueue(line)
        if not self._batching:
            self._batching = True
            self._signal(None)

    def put_urgent(self, line: str) -> None:
        """Write a line at once, with all lines before it."""
        self._enqueue(line)
        if not self._urgent:
            self._urgent = True
            self._signal(_WAKE)

    def flush(self, seconds: float = EXIT_SECONDS) -> bool:
        """Wait up to these seconds for the lines so far; whether they were written."""
        written = threading.Event()
        self._signal(written)
        return written.wait(seconds)

    def close(self, seconds: float = EXIT_SECONDS) -> None:
        """Write the waiting lines, if possible within these seconds. Later lines are not written."""
        atexit.unregister(self.close)
        self._ending.set()
        self._signal(_WAKE)
        if self._thread is not None:
            self._thread.join(seconds)

    def _enqueue(self, line: str) -> None:
        with self._lock:
            if len(self._lines) < MAX_WAITING_LINES and self._size + len(line) <= MAX_WAITING_CHARACTERS:
                self._lines.append(line)
                self._size += len(line)
            else:
                cause = self._failure or TOO_SLOW
                self._dropped[cause] += 1
                self._unreported[cause] += 1

    def _signal(self, signal: threading.Event | None) -> None:
        self._signals.put(signal)  # reentrant: a finalizer may run in the middle of this call
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread is available, or the interpreter ends: the next line retries
            self._thread = None
            self._batching = self._urgent = False

    # the thread

    def _run(self) -> None:
        waiters: list[threading.Event] = []
        while not self._ending.is_set():
            waiters += self._next_signals()
            self._batching = self._urgent = False
            self._write(self._scheduled.due_lines())
            while waiters:
                waiters.pop().set()
        self._write(self._scheduled.remaining_lines())

    def _next_signals(self) -> list[threading.Event]:
        """Wait until there is something to write; the events to set once it is written."""
        try:
            signal = self._signals.get(timeout=self._scheduled.seconds_until_due())
            if signal is None:  # an ordinary line: collect more
                signal = self._signals.get(timeout=BATCH_SECONDS)
        except queue.Empty:
            return []
        return [] if signal is None else [signal]

    def _write(self, due_lines: list[str]) -> None:
        """Write the waiting lines, and these."""
        while data := self._waiting(due_lines):
            due_lines = []
            self._write_retrying(data)

    def _waiting(self, due_lines: list[str]) -> bytes:
        with self._lock:
            lines, self._lines, self._size = self._lines, [], 0
            dropped, self._unreported = self._unreported, Counter()
        lines += due_lines
        if dropped:
            lines.append(self._report(dropped))
        return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")

    def _write_retrying(self, data: bytes) -> None:
        """Write, and retry until it succeeds or the process ends."""
        position = 0
        while position < len(data):
            ending = self._ending.is_set()
            try:
                position += self._sink.write(memoryview(data)[position:])
                self._failure = None
            except Exception as error:  # noqa: BLE001 - no error of a stream may end this thread
                self._failure = cause_of(error)
                data, position = _unwritten(data, position), 0
                if ending:
                    return
                self._ending.wait(RETRY_SECONDS)


def _reset(reference: weakref.ref[LogWriter]) -> None:
    writer = reference()
    if writer is not None:
        writer.reset()


_WAKE = threading.Event()
"""A signal that wakes the thread without waiting for it."""


def _unwritten(data: bytes, position: int) -> bytes:
    """The bytes still to be written: a line that was written in part is written again, on a line of its own."""
    begun = data.rfind(b"\n", 0, position) + 1
    return b"\n" + data[begun:] if begun < position else data[begun:]
