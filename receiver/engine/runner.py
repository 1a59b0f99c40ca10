"""The handlers' own event loop, in a thread of its own.

Separate from the intake's loop, so a handler that blocks cannot stop deliveries, the extension of leases or the
timeouts of other handlers. Plain functions run in daemon threads, one function in each: one that never returns stops
neither the others nor the shutdown.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import structlog

from receiver.engine.context import Context
from receiver.engine.handler import Handler
from receiver.engine.lifespans import EXIT_SECONDS, USE_SECONDS, Lifespans
from receiver.engine.outcome import Outcome
from receiver.engine.threads import HandlerThreads, PlainThreads, run_shared, working_for
from receiver.errors import ThreadsExhausted
from receiver.model.event import Event
from receiver.model.redact import Redactor

T = TypeVar("T")

log = structlog.get_logger("receiver.handlers")

MAX_HANGING_THREADS = 256
"""Threads of one plain handler that timed out and have not returned. More could use up the process's threads."""
TASK_PREFIX = "handler:"
"""Begins the name of a handler's task."""


class _Task(asyncio.Task[Any]):
    """A task of the handlers' loop.

    Attributes:
        run: event id and handler of the run that it belongs to; None if it belongs to none.
        handler: whose function it calls; None for others. Its name is made when somebody asks for it.
    """

    run: tuple[str, str] | None = None
    handler: str | None = None

    def get_name(self) -> str:
        """Its name."""
        return super().get_name() if self.handler is None else f"{TASK_PREFIX}{self.handler}"


class HandlerLoop:
    """A thread with an event loop that runs handlers.

    Args:
        factory: makes the loop.
        abandoned: called with +1 when a plain handler's thread is abandoned, and with -1 when it returns after all.
        redact: cuts secrets out of the texts of errors that are logged.
    """

    def __init__(
        self,
        factory: Callable[[], asyncio.AbstractEventLoop],
        abandoned: Callable[[int], None] = lambda change: None,
        redact: Redactor | None = None,
    ) -> None:
        self.loop = factory()
        self.loop.set_task_factory(self._new_task)
        self.loop.set_default_executor(HandlerThreads())
        self._abandoned = abandoned
        self._plain = PlainThreads()
        self._redact = redact or Redactor()
        self._lifespans = Lifespans(self._new_lifespan_task, self._redact)
        self._hanging: Counter[str] = Counter()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="handlers", daemon=True)

    @property
    def thread_id(self) -> int | None:
        """The thread's identifier, to find its stack."""
        return self._thread.ident

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._ending:  # a handler can stop the loop, too
            try:
                self.loop.run_forever()
            except (KeyboardInterrupt, SystemExit) as error:  # from a task that a handler made; the others go on
                log.warning("handler.exit_ignored", error=self._redact(Outcome.of_error(error).text))

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine there, from any thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    async def run_shared(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run work that several handlers may wait for, outside the calling handler's threads. On this loop only."""
        return await self.loop.create_task(run_shared(coroutine))

    def stop(self, seconds: float) -> bool:
        """Exit the lifespans, cancel what still runs, close the loop.

        False if a handler blocks it for longer than `seconds`. Lifespans may take `EXIT_SECONDS` beyond that.
        """
        self._plain.close()
        if not self._thread.is_alive():
            self.loop.close()
            return True
        if self._lifespans:
            try:
                self.submit(self._lifespans.aclose()).result(USE_SECONDS + EXIT_SECONDS + seconds)
            except TimeoutError:
                return False
        self.submit(self._wind_up())
        self._thread.join(seconds)
        if self._thread.is_alive():
            return False
        self.loop.close()
        return True

    async def _wind_up(self) -> None:
        tasks = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0) if tasks else None
        await self.loop.shutdown_asyncgens()
        self._ending = True
        self.loop.call_soon(self.loop.stop)

    async def execute(self, handler: Handler, event: Event, ctx: Context[Any]) -> Outcome:
        """Run a handler once, on this loop. Only cancellation passes through."""
        working_for.set(handler.name)
        task = asyncio.current_task()
        if isinstance(task, _Task):
            task.handler = handler.name  # what the watchdog names when the loop is blocked
            task.run = event.id, handler.name
        try:
            if handler.lifespan is not None:
                ctx = replace(ctx, state=await self._lifespans.acquire(handler, ctx.options))
            if handler.is_async:
                return Outcome.of_result(await handler.function(event, ctx))
            ended = await self._in_thread(handler, event, ctx)
            # An async function behind a plain decorator, or an object's __call__, gives something to wait for.
            return ended if isinstance(ended, Outcome) else Outcome.of_result(await ended)
        except asyncio.CancelledError as error:
            if task is not None and task.cancelling():
                raise  # requested by the dispatcher
            return Outcome.of_error(error)
        except BaseException as error:  # noqa: BLE001 - any exception of a handler ends its attempt only
            return Outcome.of_error(error)
        finally:
            if handler.lifespan is not None:
                self._lifespans.release(handler.name)

    def find_current_run(self) -> str | None:
        """The `run_key` of the run whose task is current, from any thread; None if there is none."""
        task = asyncio.current_task(self.loop)
        return run_key(*task.run) if isinstance(task, _Task) and task.run is not None else None

    def _new_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        """A task that a handler creates belongs to its run, and has the handler's name unless it is given another."""
        task = _Task(coroutine, loop=loop, **options)
        parent = asyncio.current_task(loop)
        if isinstance(parent, _Task):
            task.run = parent.run
            if options.get("name") is None and parent.get_name().startswith(TASK_PREFIX):
                task.set_name(parent.get_name())
        return task

    def _new_lifespan_task(self, handler: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of a handler that belongs to no run, and has nothing of the context of the run that is the first."""
        task = self.loop.create_task(coroutine, name=f"{TASK_PREFIX}{handler}", context=contextvars.Context())
        if isinstance(task, _Task):
            task.run = None
        return task

    def _count_hanging(self, handler: str, change: int) -> None:
        self._hanging[handler] += change
        self._abandoned(change)

    def _resolve_there(self, resolve: Callable[[T], None], ended: T) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self.loop.call_soon_threadsafe(resolve, ended)

    async def _in_thread(self, handler: Handler, event: Event, ctx: Context[Any]) -> Outcome | Awaitable[Any]:
        if self._hanging[handler.name] >= MAX_HANGING_THREADS:
            raise ThreadsExhausted(
                f"{MAX_HANGING_THREADS} threads of {handler.name} timed out and have not returned; no attempt starts "
                "until one does. Give the calls it waits for a time-out of their own."
            )
        done: asyncio.Future[Outcome | Awaitable[Any]] = self.loop.create_future()

        def resolve(ended: Outcome | Awaitable[Any]) -> None:
            if done.cancelled():
                self._count_hanging(handler.name, -1)
            else:
                done.set_result(ended)

        def work() -> Callable[[], None]:
            ended: Outcome | Awaitable[Any]
            if done.cancelled():  # it timed out before a thread took it
                return partial(self._resolve_there, resolve, Outcome("released"))
            try:
                result = handler.function(event, ctx)
                ended = result if inspect.isawaitable(result) else Outcome.of_result(result)
            except BaseException as error:  # noqa: BLE001 - as in `execute`; a future does not take every exception
                ended = Outcome.of_error(error)
            return partial(self._resolve_there, resolve, ended)

        context = contextvars.copy_context()  # identifies the work as this handler's
        self._plain.run(handler.name, partial(context.run, work))
        try:
            return await done
        except asyncio.CancelledError:
            if done.cancelled():
                self._count_hanging(handler.name, 1)
            raise


def run_key(event_id: str, handler: str) -> str:
    """Identifies a run among those that run."""
    return f"{event_id}:{handler}"
