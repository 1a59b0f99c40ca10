"""Handlers' lifespans: what a handler opens before its first run and closes when the receiver stops.

On the handlers' loop only. Each lifespan is entered and exited in a task of its own, because libraries that start
background tasks (anyio's task groups, clients of brokers) must be closed by the task that opened them. If nobody waits
for an entry any more, it is cancelled, so that the next attempt begins anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

from receiver.engine.handler import Handler, Lifespan
from receiver.engine.outcome import Outcome
from receiver.engine.threads import working_for
from receiver.model.redact import Redactor

log = structlog.get_logger("receiver.handlers")

Spawn = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]

EXIT_SECONDS = 5.0
"""How long a lifespan may take to exit when the receiver stops."""
USE_SECONDS = 1.0
"""How long its exit waits for cancelled runs that still use its value."""
MAX_DETAIL_CHARACTERS = 2000


class Lifespans:
    """The entered lifespans, by handler.

    Args:
        spawn: starts a task of a handler, by its name, that belongs to none of its runs.
        redact: cuts secrets out of the texts of errors that are logged.
    """

    def __init__(self, spawn: Spawn, redact: Redactor) -> None:
        self._spawn = spawn
        self._redact = redact
        self._entered: dict[str, _Lifespan] = {}
        self._uses: Counter[str] = Counter()
        self._unused: dict[str, asyncio.Event] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to exit."""
        return bool(self._entered)

    async def acquire(self, handler: Handler, options: Any) -> Any:
        """Return the value of the handler's lifespan, which is entered first if it is not. `release` must follow.

        Raises:
            BaseException: whatever entering raised.
        """
        name = handler.name
        self._uses[name] += 1
        self._unused.setdefault(name, asyncio.Event()).clear()
        lifespan = self._entered.get(name)
        if lifespan is None:
            if handler.lifespan is None:
                return None
            lifespan = self._entered[name] = _Lifespan(name, handler.lifespan, options, self._redact)
            lifespan.task = self._spawn(name, lifespan.run())
            lifespan.task.add_done_callback(lambda _: self._forget(lifespan))
        return await lifespan.value()

    def release(self, name: str) -> None:
        """A run no longer uses the value, or waits for it."""
        self._uses[name] -= 1
        if self._uses[name] > 0:
            return
        self._unused[name].set()
        lifespan = self._entered.get(name)
        if lifespan is not None and not lifespan.is_entered:
            del self._entered[name]
            lifespan.give_up()

    async def aclose(self) -> None:
        """Exit all, at the same time; at most `USE_SECONDS` and `EXIT_SECONDS`."""
        await asyncio.gather(*(self._exit(name, lifespan) for name, lifespan in self._entered.items()))

    async def _exit(self, name: str, lifespan: _Lifespan) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(USE_SECONDS):
                await self._unused[name].wait()
        await lifespan.exit(EXIT_SECONDS)

    def _forget(self, lifespan: _Lifespan) -> None:
        """It has ended: the next run enters it again."""
        if self._entered.get(lifespan.handler) is lifespan:
            del self._entered[lifespan.handler]


class _Lifespan:
    """One entry of a handler's lifespan."""

    def __init__(self, handler: str, enter: Lifespan, options: Any, redact: Redactor) -> None:
        self.handler = handler
        self._redact = redact
        self._enter = enter
        self._options = options
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        self._given_up = False
        self.task: asyncio.Task[None] | None = None
        self.is_entered = False

    async def value(self) -> Any:
        await self._ready.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def give_up(self) -> None:
        self._given_up = True
        if self.task is not None:
            self.task.cancel()

    async def exit(self, seconds: float) -> None:
        self._stop.set()
        if self.task is None:
            return
        await asyncio.wait([self.task], timeout=seconds)
        if not self.task.done():
            self.give_up()
            log.warning("handler.lifespan_not_exited", handler=self.handler, detail=f"not done after {seconds:g} s")

    async def run(self) -> None:
        working_for.set(self.handler)  # its threads, and those of tasks that it starts, are the handler's
        try:
            async with self._enter(self._options) as self._value:
                self.is_entered = True
                self._ready.set()
                await self._stop.wait()
        except BaseException as error:  # noqa: BLE001 - the author's code may raise anything; no task may end the loop
            self._failed(error)
        else:
            if not self._stop.is_set():  # it suppressed the cancellation that a task of its own caused
                self._failed(asyncio.CancelledError())

    def _failed(self, error: BaseException) -> None:
        if not self.is_entered:
            self._error = error
            self._ready.set()
        elif not self._given_up:
            detail = self._redact.bounded(Outcome.of_error(error).text, MAX_DETAIL_CHARACTERS)
            if self._stop.is_set():
                log.warning("handler.lifespan_not_exited", handler=self.handler, detail=detail)
            else:
                log.warning("handler.lifespan_ended", handler=self.handler, detail=detail)
