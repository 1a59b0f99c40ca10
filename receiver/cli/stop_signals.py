"""SIGINT, SIGTERM and SIGHUP (a terminal that closes) of commands that run an event loop."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(on_stop: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `on_stop` on the running loop for each SIGINT, SIGTERM and SIGHUP.

    A signal that the process ignores stays ignored: a shell sets SIGINT so for what it starts in the background, and
    nohup SIGHUP. Beside the main thread the signals are the program's, and nothing is changed.
    """
    loop = asyncio.get_running_loop()
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [n for n in stops if signal.getsignal(n) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    for number in numbers:
        loop.add_signal_handler(number, on_stop, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
