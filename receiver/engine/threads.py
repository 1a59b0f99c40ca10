"""Threads for blocking work on the handlers' loop: separate ones for each handler, and for the receiver itself.

asyncio gives a loop one pool of very few threads (six on two cores) for `asyncio.to_thread` and name resolution.
One handler's slow work would occupy all of them and delay other handlers and the fetching of audio.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS_PER_HANDLER = 64
"""Threads of one handler at one time; further work waits for one of them."""
MAX_RECEIVER_THREADS = 64
IDLE_SECONDS = 5.0
"""How long a thread of a plain handler waits for the next run."""

working_for: ContextVar[str | None] = ContextVar("working_for", default=None)
"""The handler whose code runs; None for the receiver's own. Tasks and threads that a handler starts inherit it."""


async def run_shared(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run work of the receiver that one handler requested and others may wait for. Needs a task of its own."""
    working_for.set(None)
    return await coroutine


@dataclass(slots=True)
class _WorkQueue:
    """The work of one handler's threads."""

    busy: int = 0
    waiting: deque[Callable[[], None]] = field(default_factory=deque)


class HandlerThreads(ThreadPoolExecutor):
    """The executor of the handlers' loop.

    A handler's work gets daemon threads: a call that never returns delays no other handler and no shutdown.
    """

    def __init__(self) -> None:
        super().__init__(MAX_RECEIVER_THREADS, thread_name_prefix="handlers-our-own")
        self._lock = threading.Lock()
        self._work: dict[str, _WorkQueue] = {}

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
            except StopIteration as error:  # asyncio's futures refuse it, and the caller would wait forever
                stopped = RuntimeError("the call raised StopIteration")
                stopped.__cause__ = error
                future.set_exception(stopped)
            except BaseException as error:  # noqa: BLE001 - the future raises it in the waiting code
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            queued = self._work.setdefault(handler, _WorkQueue())
            if queued.busy < MAX_THREADS_PER_HANDLER:
                threading.Thread(target=self._run, args=[queued], name=f"handler-{handler}", daemon=True).start()
                queued.busy += 1
            queued.waiting.append(work)
        return future

    def _run(self, queued: _WorkQueue) -> None:
        while True:
            with self._lock:
                if not queued.waiting:
                    queued.busy -= 1
                    return
                work = queued.waiting.popleft()
            work()


class PlainThreads:
    """Daemon threads for plain handlers. No run waits for a thread that another run of its handler is in.

    While runs wait, one thread has been woken or started for them. It takes a run and wakes the next thread before it
    begins, so a run that never returns delays no other. A thread that is done takes the next run itself: quick runs
    that arrive together need one thread, and no switch between threads for each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[str, _PlainPool] = {}
        self._closed = False

    def run(self, handler: str, work: Callable[[], Callable[[], None]]) -> None:
        """Run `work` in a thread of the handler; there, once the thread can be used again, call what it returned.

        Raises:
            RuntimeError: the process can start no more threads, and the handler has none.
        """
        with self._lock:
            pool = self._pools.setdefault(handler, _PlainPool())
            pool.waiting.append(work)
            try:
                self._wake_one(handler, pool)
            except RuntimeError:
                if not pool.threads:  # else it waits for one of those
                    pool.waiting.pop()
                    raise

    def close(self) -> None:
        """End the idle threads; the others end with their work."""
        with self._lock:
            self._closed = True
            idle = [thread for pool in self._pools.values() for thread in pool.idle]
            for pool in self._pools.values():
                pool.threads -= len(pool.idle)
                pool.idle.clear()
        for thread in idle:
            thread.put(_END)

    def _wake_one(self, handler: str, pool: _PlainPool) -> None:
        """Wake or start one thread, unless one is coming already. With the lock held."""
        if pool.coming:
            return
        if pool.idle:
            pool.idle.pop().put(_WAKE)
        else:
            threading.Thread(target=self._work, args=[handler, pool], name=f"handler-{handler}", daemon=True).start()
            pool.threads += 1
        pool.coming = True

    def _work(self, handler: str, pool: _PlainPool) -> None:
        wakes: _Wakes = queue.SimpleQueue()
        with self._lock:
            pool.coming = False
            work = self._take(handler, pool, wakes)
        while True:
            while work is not None:
                report = work()
                with self._lock:
                    work = self._take(handler, pool, wakes)
                report()
            if self._wait(pool, wakes) is _END:
                return
            with self._lock:
                pool.coming = False
                work = self._take(handler, pool, wakes)

    def _take(self, handler: str, pool: _PlainPool, wakes: _Wakes) -> Callable[[], Callable[[], None]] | None:
        """The next work; None if the thread is idle now, or has to end. With the lock held."""
        if not pool.waiting:
            if self._closed:
                pool.threads -= 1
                wakes.put(_END)
            else:
                pool.idle.append(wakes)
            return None
        work = pool.waiting.popleft()
        if pool.waiting:
            with contextlib.suppress(RuntimeError):  # as in `run`
                self._wake_one(handler, pool)
        return work

    def _wait(self, pool: _PlainPool, wakes: _Wakes) -> object:
        try:
            return wakes.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            with self._lock:
                if wakes in pool.idle:
                    pool.idle.remove(wakes)
                    pool.threads -= 1
                    return _END
            return wakes.get()  # it was woken meanwhile


_Wakes: TypeAlias = "queue.SimpleQueue[object]"
"""Wakes one idle thread."""
_WAKE, _END = object(), object()


@dataclass(slots=True)
class _PlainPool:
    """The threads of one plain handler, and the runs that wait for one.

    Attributes:
        threads: how many there are.
        idle: what wakes each idle thread.
        coming: whether a thread was woken or started for waiting work and has not taken it yet.
    """

    waiting: deque[Callable[[], Callable[[], None]]] = field(default_factory=deque)
    threads: int = 0
    idle: list[_Wakes] = field(default_factory=list)
    coming: bool = False
