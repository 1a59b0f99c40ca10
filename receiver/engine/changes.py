"""Wakes the parts of this process for what other processes committed, and the others for what this one did.

Where processes do not tell each other (SQLite, a pooler), nothing is announced, and every part polls as usual.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection

from receiver.store.backend import Processes
from receiver.store.changes import QUIET_POLL_SECONDS, Change

DEBOUNCE_SECONDS = 0.05
"""The listeners are called at most once in this time, however many processes announce something."""


class Changes:
    """What the processes of a store tell each other."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: dict[Change, list[Callable[[], None]]] = {change: [] for change in Change}
        self._announced: set[Change | None] = set()
        self._timer: asyncio.TimerHandle | None = None

    def poll_seconds(self, usual: float) -> float:
        """How long a part may wait that polls the store every `usual` seconds, and is woken by changes."""
        return max(usual, QUIET_POLL_SECONDS) if self._processes.quiet else usual

    def listen(self, change: Change, listener: Callable[[], None]) -> None:
        """Call this on the loop when another process announces the change, or may have announced it."""
        self._listeners[change].append(listener)

    def start(self) -> None:
        """Begin to call the listeners, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._processes.subscribe(self._call_soon)

    def changed(self, change: Change) -> None:
        """This process committed the change where its parts do not see it: call their listeners, and announce it.

        From any thread.
        """
        self._call_soon(change)
        self._processes.announce(change)

    def changed_perhaps(self) -> None:
        """The store may have runs and jobs that nothing announced: call all listeners, and announce it.

        From any thread.
        """
        self._call_soon(None)
        for change in (Change.RUNS, Change.JOBS):
            self._processes.announce(change)

    def _call_soon(self, change: Change | None) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the listeners
                self._loop.call_soon_threadsafe(self._add, change)

    def call_all(self) -> None:
        """Call every listener: the store may be other than they know."""
        self._call({None})

    def _add(self, change: Change | None) -> None:
        self._announced.add(change)
        if self._timer is None:
            self._call_announced()

    def _call_announced(self) -> None:
        self._timer = None
        if self._announced and self._loop is not None:
            announced, self._announced = self._announced, set()
            self._call(announced)
            self._timer = self._loop.call_later(DEBOUNCE_SECONDS, self._call_announced)

    def _call(self, changes: Collection[Change | None]) -> None:
        called = changes if None not in changes else self._listeners
        for listener in dict.fromkeys(
            listener for word in self._listeners if word in called for listener in self._listeners[word]
        ):
            listener()
