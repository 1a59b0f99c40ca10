"""Threads for blocking work on the handlers' loop: each handler's apart from the others', and apart from our own.

asyncio gives a loop one pool of very few threads (six on two cores) for `asyncio.to_thread` and name resolution.
One handler's slow work would fill it, and the others' work and the fetching of audio would wait behind it.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS_PER_HANDLER = 64
"""A handler's threads at one time; further work waits for one of them."""
MAX_RECEIVER_THREADS = 64
IDLE_SECONDS = 5.0
"""How long a thread of a plain handler waits for the next run."""

working_for: ContextVar[str | None] = ContextVar("working_for", default=None)
"""The handler whose code runs; none for our own. Tasks and threads that a handler starts inherit it."""


async def run_shared(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run our own work that one handler requested and others may wait for. Needs a task of its own."""
    working_for.set(None)
    return await coroutine


@dataclass(slots=True)
class _Work:
    """The work of one handler's threads."""

    busy: int = 0
    waiting: deque[Callable[[], None]] = field(default_factory=deque)


class HandlerThreads(ThreadPoolExecutor):
    """The executor of the handlers' loop.

    A handler's work gets daemon threads: a call that never returns delays no other handler and no shutdown.
    """

    def __init__(self) -> None:
        super().__init__(MAX_RECEIVER_THREADS, thread_name_prefix="handlers-our-own")
        self._guard = threading.Lock()
        self._work: dict[str, _Work] = {}

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it in a thread of the calling handler."""
        handler = working_for.get()
        if handler is None:
            return super().submit(fn, *args, **kwargs)
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except StopIteration as error:  # asyncio's futures do not take it: its waiter would wait for ever
                stopped = RuntimeError("the call raised StopIteration")
                stopped.__cause__ = error
                future.set_exception(stopped)
            except BaseException as error:  # noqa: BLE001 - the future raises it in the waiting code
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._guard:
            mine = self._work.setdefault(handler, _Work())
            if mine.busy < MAX_THREADS_PER_HANDLER:
                threading.Thread(target=self._run, args=[mine], name=f"handler-{handler}", daemon=True).start()
                mine.busy += 1
            mine.waiting.append(work)
        return future

    def _run(self, mine: _Work) -> None:
        while True:
            with self._guard:
                if not mine.waiting:
                    mine.busy -= 1
                    return
                work = mine.waiting.popleft()
            work()


class PlainThreads:
    """Daemon threads for plain handlers: one for each run at work, kept for the next run of the same handler.

    A run never waits for another one's thread: one that does not return costs its thread and nothing else.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._idle: dict[str, list[_PlainThread]] = {}
        self._closed = False

    def run(self, handler: str, work: Callable[[], Callable[[], None]]) -> None:
        """Run `work` in a thread of the handler, and there what it returns, once the thread can be used again."""
        with self._guard:
            idle = self._idle.setdefault(handler, [])
            thread = idle.pop() if idle else _PlainThread()
        if not thread.started:
            thread.started = True
            threading.Thread(target=self._work, args=[handler, thread], name=f"handler-{handler}", daemon=True).start()
        thread.todo.put(work)

    def close(self) -> None:
        """End the threads that have nothing to do; the others end with their work."""
        with self._guard:
            self._closed = True
            idle = [thread for threads in self._idle.values() for thread in threads]
            self._idle.clear()
        for thread in idle:
            thread.todo.put(None)

    def _work(self, handler: str, thread: _PlainThread) -> None:
        while (work := self._next(handler, thread)) is not None:
            tell = work()
            with self._guard:
                closed = self._closed
                if not closed:
                    self._idle.setdefault(handler, []).append(thread)
            tell()
            if closed:
                return

    def _next(self, handler: str, thread: _PlainThread) -> Callable[[], Callable[[], None]] | None:
        try:
            return thread.todo.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            with self._guard:
                idle = self._idle.get(handler, [])
                if thread in idle:
                    idle.remove(thread)
                    return None
            return thread.todo.get()  # it has been chosen meanwhile


@dataclass(slots=True, eq=False)
class _PlainThread:
    """One thread, and what it is to do next."""

    todo: queue.SimpleQueue[Callable[[], Callable[[], None]] | None] = field(default_factory=queue.SimpleQueue)
    started: bool = False
