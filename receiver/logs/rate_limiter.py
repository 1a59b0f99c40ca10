"""Limits repeated lines with the same cause: the first few are written, then one a minute that counts the others.

Only for the messages in this table, whose repetition has no new information. Fields that identify an event or a job are
part of the key, so the first line about each is always written. Lines with other messages are never dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from receiver.clock import Clock

RATE_LIMITED: Mapping[str, tuple[str, ...]] = {
    "api.refused": ("outcome",),
    "api.store_unavailable": ("operation",),
    "clock.broken": (),
    "clock.times_not_corrected": (),
    "console.login_refused": ("outcome",),
    "console.session_not_extended": (),
    "delivery.not_stored": ("source", "outcome"),
    "delivery.refused": ("source", "outcome"),
    "dispatch.leases_broken": (),
    "dispatch.leases_not_extended": (),
    "dispatch.store_unavailable": (),
    "handler.blocks_loop": ("handler", "where"),
    "poll.not_stored": ("source", "job"),
    "poll.store_unavailable": ("source",),
    "process.broken": (),
    "process.work_not_released": (),
    "provider.failed": ("call",),
    "provider.rate_limit_not_stored": ("source",),
    "run.result_not_stored": ("event_id", "handler"),
    "stream.store_unavailable": (),
    "submit.not_stored": ("source", "job"),
    "telemetry.failed": ("hook", "telemetry"),
}
"""Messages, and the fields by which two of their lines are the same."""
FIRST_LINES = 5
"""How many lines are written; the others are counted."""
WINDOW_SECONDS = 60.0
"""For how long lines are counted."""
MAX_WINDOWS = 1_000
"""Kinds of lines that are counted at a time; lines of further kinds are all written."""

_Key = tuple[str, tuple[Any, ...]]


@dataclass(slots=True)
class _Window:
    """One kind of line, within a minute."""

    level: str
    until: float
    written: int = 0
    repeated: int = 0


class LogRateLimiter:
    """The first structlog processor: drops repeated lines, and makes the lines that count them.

    Args:
        render: returns the text of an event of a level.
        clock: for the windows.
    """

    def __init__(self, render: Callable[[str, EventDict], str], clock: Clock) -> None:
        self._render = render
        self._clock = clock
        self._lock = threading.RLock()
        self._windows: dict[_Key, _Window] = {}

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        """Return the line unchanged.

        Raises:
            structlog.DropEvent: it is a repetition, and was counted.
        """
        if method == "info":
            return line
        message = line.get("event")
        fields = RATE_LIMITED.get(message) if isinstance(message, str) else None
        if fields is None:
            return line
        key = (str(message), tuple(str(line.get(name, "")) for name in fields))
        with self._lock:
            window = self._windows.get(key)
            if window is None:
                if len(self._windows) >= MAX_WINDOWS:
                    return line
                window = self._windows[key] = _Window(method, self._clock.monotonic() + WINDOW_SECONDS)
            if window.written < FIRST_LINES:
                window.written += 1
                return line
            window.repeated += 1
        raise structlog.DropEvent

    def seconds_until_due(self) -> float | None:
        """Seconds until the first window ends; None while nothing is counted."""
        with self._lock:
            if not self._windows:
                return None
            return max(0.0, min(window.until for window in self._windows.values()) - self._clock.monotonic())

    def due_lines(self) -> list[str]:
        """A line for each kind that was repeated in a minute that has ended."""
        now = self._clock.monotonic()
        with self._lock:
            ended = {key: window for key, window in self._windows.items() if window.until <= now}
            lines = self._lines(ended)
            for key, window in ended.items():
                if window.repeated:  # it continues: of the next minute only the count is written
                    self._windows[key] = _Window(window.level, now + WINDOW_SECONDS, written=FIRST_LINES)
                else:
                    del self._windows[key]
        return lines

    def remaining_lines(self) -> list[str]:
        """A line for each kind that was repeated in a minute that has not ended."""
        with self._lock:
            lines = self._lines(self._windows)
            self._windows.clear()
        return lines

    def _lines(self, windows: Mapping[_Key, _Window]) -> list[str]:
        lines = []
        for (message, values), window in windows.items():
            if window.repeated:
                same = dict(zip(RATE_LIMITED[message], values, strict=True))
                summary = {"event": message, **same, "repeated": window.repeated, "seconds": round(WINDOW_SECONDS)}
                lines.append(self._render(window.level, summary))
        return lines
