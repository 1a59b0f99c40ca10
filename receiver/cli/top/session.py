"""Reads the store again and again and draws what it finds, until a signal or the key q."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from receiver.cli.stop_signals import stop_signals
from receiver.cli.top.frame import render
from receiver.cli.top.screen import Screen
from receiver.errors import ReceiverError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receiver.cli.top.reading import Overview, Reader


SLOW_SECONDS = 2.0
"""A reading that takes longer is said to."""


async def watch(reader: Reader, first: Overview, interval: float) -> bool:
    """Show the overview until the end is requested. The terminal is left as it was, also after an error.

    Returns:
        Whether the store is still being read.
    """
    screen = Screen()
    session = _Session(reader, screen, first, interval)
    screen.enter()
    try:
        with stop_signals(session.stop), session.terminal_signals(), session.keys():
            return await session.run()
    finally:
        screen.leave()


class _Session:
    def __init__(self, reader: Reader, screen: Screen, first: Overview, interval: float) -> None:
        self._reader = reader
        self._screen = screen
        self._shown = first
        self._interval = interval
        self._trouble: str | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> bool:
        """Draw and read in turn; at the end, whether a reading is in progress."""
        self.draw()
        while not await self._stopped_within(self._interval):
            reading = self._start_reading()
            while not await self._done_within(reading, max(SLOW_SECONDS, self._interval)):
                if self._stopping.is_set():
                    return True
                self._trouble = "The store has not answered yet."
                self.draw()
            self._take(reading)
            self.draw()
        return False

    def draw(self) -> None:
        """Draw at the terminal's size now."""
        width, height = self._screen.size()
        ends = "Ctrl-C" if self._screen.keys is None else "q"
        footer = f"read every {self._interval:g} s; {ends} ends"
        self._screen.draw(render(self._shown, width, height, self._trouble, footer))

    def stop(self, number: signal.Signals | None = None) -> None:
        """End."""
        self._stopping.set()

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    async def _done_within(self, reading: asyncio.Future[Overview], seconds: float) -> bool:
        """Whether it is done after so many seconds at most, or earlier if the end is requested."""
        stopped = asyncio.ensure_future(self._stopping.wait())
        either: list[asyncio.Future[Any]] = [reading, stopped]
        try:
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        return reading.done()

    def _start_reading(self) -> asyncio.Future[Overview]:
        """Read in a thread that the end does not wait for: a store may hang."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Overview] = loop.create_future()

        def finish(found: Overview | None, error: BaseException | None) -> None:
            if found is not None:
                result.set_result(found)
            elif error is not None:
                result.set_exception(error)

        def read() -> None:
            found: Overview | None = None
            error: BaseException | None = None
            try:
                found = self._reader.read()
            except BaseException as raised:  # noqa: BLE001 - it is raised where the result is taken
                error = raised
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(finish, found, error)

        threading.Thread(target=read, name="top-read", daemon=True).start()
        return result

    def _take(self, reading: asyncio.Future[Overview]) -> None:
        try:
            self._shown = reading.result()
            self._trouble = None
        except ReceiverError as error:
            at = time.strftime("%H:%M:%SZ", time.gmtime(self._shown.status.at.timestamp()))
            self._trouble = f"Not read since {at}: {error}"

    @contextmanager
    def terminal_signals(self) -> Iterator[None]:
        """Redraw at another size; leave the screen while the process is stopped."""
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGWINCH: self.draw, signal.SIGTSTP: self._suspend, signal.SIGCONT: self._resume}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _suspend(self) -> None:
        self._screen.leave()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _resume(self) -> None:
        self._screen.enter()
        self.draw()

    @contextmanager
    def keys(self) -> Iterator[None]:
        """End at q, and when the terminal closes."""
        loop, keys = asyncio.get_running_loop(), self._screen.keys

        def read() -> None:
            typed = b""
            with suppress(OSError):  # the terminal is gone
                typed = os.read(keys or 0, 64)
            if not typed or b"q" in typed.lower():
                self.stop()

        if keys is not None:
            loop.add_reader(keys, read)
        try:
            yield
        finally:
            if keys is not None:
                loop.remove_reader(keys)
