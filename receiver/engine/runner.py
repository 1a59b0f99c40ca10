"""The handlers' own event loop, in a thread of its own.

Apart from the intake's loop so that a handler which blocks cannot stop deliveries from being taken, leases from being
extended, or another handler from being timed out. Plain functions get a daemon thread each: one that never returns
keeps neither the others nor the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import pydantic_core
import structlog

from receiver.engine.context import Context
from receiver.engine.handler import Handler
from receiver.engine.threads import HandlerThreads, run_shared, working_for
from receiver.errors import HandlerHangs, Reject, RetryLater
from receiver.model.event import Event
from receiver.model.retry import RetryPolicy, wait_seconds

T = TypeVar("T")

log = structlog.get_logger("receiver.handlers")

MOST_RESULT_BYTES = 65_536
MAX_HANGING_THREADS = 256
"""Threads of one plain handler that timed out and have not returned. More could use up the process's threads."""
TASK_PREFIX = "handler:"
"""Begins the name of a handler's task."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one execution ended by itself.

    Attributes:
        word: succeeded, failed, rejected, retry_later or postponed.
        result: what the handler returned, as JSON values.
        error: the exception, for all but succeeded.
    """

    word: str
    result: Any = None
    error: Exception | None = None

    @property
    def after(self) -> float:
        """Seconds to wait at least."""
        return self.error.after if isinstance(self.error, RetryLater) else 0.0

    @property
    def counts(self) -> bool:
        """Whether this was one of the handler's attempts."""
        return self.word != "postponed"

    def wait(self, policy: RetryPolicy, attempt: int, chance: float) -> float | None:
        """Seconds until the next attempt after one that did not succeed; None where there is none.

        Args:
            attempt: attempts that count so far, this one included.
            chance: uniform in [0, 1).
        """
        if self.word == "rejected":
            return None
        return wait_seconds(policy, attempt, chance, told=self.after) if self.counts else self.after


class HandlerLoop:
    """A thread with an event loop that runs handlers.

    Args:
        factory: makes the loop.
        abandoned: told +1 when a plain handler's thread is given up and -1 when it returns after all.
    """

    def __init__(
        self, factory: Callable[[], asyncio.AbstractEventLoop], abandoned: Callable[[int], None] = lambda change: None
    ) -> None:
        self.loop = factory()
        self.loop.set_task_factory(_named_after_parent)
        self.loop.set_default_executor(HandlerThreads())
        self._abandoned = abandoned
        self._hanging: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="handlers", daemon=True)

    @property
    def thread_id(self) -> int | None:
        """The thread's identity, for a look at its stack."""
        return self._thread.ident

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
            except (KeyboardInterrupt, SystemExit) as error:  # from a task that a handler made; the others go on
                log.warning("handler.exits", error=f"{type(error).__name__}: {error}")
            else:
                return

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine there, from any thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    async def run_shared(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run work that several handlers may wait for outside the calling handler's threads. On this loop only."""
        return await self.loop.create_task(run_shared(coroutine))

    def stop(self, seconds: float) -> bool:
        """Cancel what still runs, close the loop; False if a handler blocks it for longer than `seconds`."""
        if not self._thread.is_alive():
            self.loop.close()
            return True
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
        self.loop.call_soon(self.loop.stop)

    async def execute(self, handler: Handler, event: Event, ctx: Context[Any]) -> Outcome:
        """Run a handler once, on this loop. Only cancellation passes through."""
        working_for.set(handler.name)
        task = asyncio.current_task()
        if task is not None:
            task.set_name(f"{TASK_PREFIX}{handler.name}")  # what the watch names when the loop is blocked
        try:
            if handler.is_async:
                result = await handler.function(event, ctx)
            else:
                result = await self._in_thread(handler, event, ctx)
                if inspect.isawaitable(result):  # an async function behind a plain decorator, or an object's __call__
                    result = await result
            return Outcome("succeeded", result=_json(result))
        except Reject as error:
            return Outcome("rejected", error=error)
        except RetryLater as error:
            return Outcome("retry_later" if error.counts else "postponed", error=error)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its attempt's end, and nobody else's
            return Outcome("failed", error=error)
        except asyncio.CancelledError:
            if task is not None and task.cancelling():
                raise  # we were asked to end it
            return Outcome("failed", error=RuntimeError("CancelledError: what it waited for was cancelled"))
        except (KeyboardInterrupt, SystemExit) as caught:  # these would end the loop, and every handler with it
            return Outcome("failed", error=RuntimeError(f"{type(caught).__name__}: {caught}"))

    def _count_hanging(self, handler: str, change: int) -> None:
        self._hanging[handler] += change
        self._abandoned(change)

    async def _in_thread(self, handler: Handler, event: Event, ctx: Context[Any]) -> Any:
        if self._hanging[handler.name] >= MAX_HANGING_THREADS:
            raise HandlerHangs(
                f"{MAX_HANGING_THREADS} threads of {handler.name} timed out and have not returned; no attempt starts "
                "until one does. Give the calls it waits for a time-out of their own."
            )
        done: asyncio.Future[Any] = self.loop.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            if done.cancelled():
                self._count_hanging(handler.name, -1)
            elif error is None:
                done.set_result(result)
            else:
                done.set_exception(error)

        def work() -> None:
            result: Any = None
            error: Exception | None = None
            try:
                result = handler.function(event, ctx)
            except Exception as caught:  # noqa: BLE001 - carried to the loop's side
                error = caught
            except BaseException as caught:  # noqa: BLE001 - SystemExit and its like end an attempt, not the receiver
                error = RuntimeError(f"{type(caught).__name__}: {caught}")
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                self.loop.call_soon_threadsafe(settle, result, error)

        context = contextvars.copy_context()  # identifies the work as this handler's
        threading.Thread(target=context.run, args=[work], name=f"handler-{handler.name}", daemon=True).start()
        try:
            return await done
        except asyncio.CancelledError:
            if done.cancelled():
                self._count_hanging(handler.name, 1)
            raise


def _named_after_parent(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """A task that a handler makes bears the handler's name too, unless it is given one."""
    task = asyncio.Task(coroutine, loop=loop, **options)
    parent = asyncio.current_task(loop)
    if options.get("name") is None and parent is not None and parent.get_name().startswith(TASK_PREFIX):
        task.set_name(parent.get_name())
    return task


def _plain(value: Any) -> Any:
    """A value that JSON cannot write as one that it can: `event.body` as a plain object."""
    return dict(value) if isinstance(value, Mapping) else repr(value)


def _json(result: Any) -> Any:
    """The result as JSON values, bounded: what a handler returned must not undo what it did."""
    if result is None:
        return None
    try:
        text = pydantic_core.to_json(result, fallback=_plain, inf_nan_mode="strings", bytes_mode="base64")
        if len(text) > MOST_RESULT_BYTES:
            return {"truncated": True, "bytes": len(text)}
        return pydantic_core.from_json(text)
    except Exception as error:  # noqa: BLE001 - it holds itself, or is no text, or its repr raises
        return {"not_json": type(result).__name__, "reason": type(error).__name__}
