"""Running attempts: their handlers run on the handlers' loop, their timeouts on the intake's.

A batch is passed to the handlers' loop with one wake-up, and a batch of outcomes comes back with one. Every attempt
ends exactly once: by its outcome, its timeout, or its release. An outcome that arrives later is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple, Protocol

from receiver.clock import Clock
from receiver.engine.outcome import Outcome
from receiver.engine.plugins import Registry
from receiver.engine.runner import run_key
from receiver.errors import LoopBlocked
from receiver.store.claims import Claim, RunKey

LOOP_BLOCKED_RETRY_SECONDS = 1.0
"""Until the next attempt of a run that timed out because another one blocked the handlers' loop."""

Execute = Callable[[Claim], Coroutine[Any, Any, Outcome]]
"""Makes the coroutine that executes a handler once on the handlers' loop. An exception ends the attempt."""
_Call = tuple[RunKey, Coroutine[Any, Any, Outcome]]


class LoopWatch(Protocol):
    """Reports whether the handlers' loop is blocked."""

    @property
    def blocked(self) -> str | None:
        """Which handler blocks it, and where, in a sentence; None while it runs."""

    def find_blocker(self) -> str | None:
        """The `run_key` of the run that blocks it, if known."""


class FinishedAttempt(NamedTuple):
    """An attempt that has ended, and how many seconds it took."""

    claim: Claim
    outcome: Outcome
    seconds: float


class _Active(NamedTuple):
    claim: Claim
    began: float
    deadline: float
    """When it times out, in the intake loop's time."""


class Executions:
    """The running attempts. Its public methods are called on the intake's loop.

    Args:
        loop: the handlers'.
        watch: of that loop.
        ended: called on the intake's loop with attempts that have ended.
    """

    def __init__(
        self,
        registry: Registry,
        execute: Execute,
        loop: asyncio.AbstractEventLoop,
        *,
        watch: LoopWatch,
        clock: Clock,
        ended: Callable[[list[FinishedAttempt]], None],
    ) -> None:
        self._registry = registry
        self._watch = watch
        self._clock = clock
        self._ended = ended
        self._active: dict[RunKey, _Active] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._execute = execute
        self._prepared: dict[int, dict[RunKey, Coroutine[Any, Any, Outcome]]] = {}
        """By turn."""
        self._tasks = _HandlerTasks(loop, self._take)
        self.running: Counter[str] = Counter()
        """How many of each handler's attempts are at work."""

    def prepare(self, turn: int, claims: list[Claim]) -> None:
        """Make the calls of these runs for the `start` of this turn, while their claims are being committed."""
        self.discard_prepared(turn)
        self._prepared[turn] = {claim.key: self._call(claim) for claim in claims}

    def discard_prepared(self, turn: int) -> None:
        """Forget the prepared calls of a turn: their claims were not committed."""
        for call in self._prepared.pop(turn, {}).values():
            call.close()

    def start(self, turn: int, claims: list[Claim]) -> None:
        """Begin to execute these runs, whose claims are committed."""
        loop = asyncio.get_running_loop()
        began, at = self._clock.monotonic(), loop.time()
        prepared = self._prepared.get(turn, {})
        timeouts = {handler: self._timeout(handler) for handler in {claim.handler for claim in claims}}
        calls = []
        for claim in claims:
            key, handler = claim.key, claim.handler
            calls.append((key, prepared.pop(key) if key in prepared else self._call(claim)))
            self._active[key] = _Active(claim, began, at + timeouts[handler])
            self.running[handler] += 1
        self.discard_prepared(turn)
        self._set_timer(loop, at + min(timeouts.values(), default=math.inf))
        try:
            self._tasks.begin(calls, loop)
        except RuntimeError as error:  # the handlers' loop is closed
            for _, call in calls:
                call.close()
            self._take([(claim.key, Outcome.of_error(error)) for claim in claims])

    def _call(self, claim: Claim) -> Coroutine[Any, Any, Outcome]:
        try:
            return self._execute(claim)
        except Exception as error:  # noqa: BLE001 - a run that cannot even start is a failed attempt, not a lost one
            return _failed(error)

    def release(self, keys: Iterable[RunKey]) -> None:
        """Cancel the handlers of these attempts. They end at once, whatever the handler does."""
        self._end([(key, Outcome("released")) for key in keys if key in self._active])

    def release_all(self) -> None:
        """`release` all that are at work."""
        self.release(list(self._active))

    def _timeout(self, handler: str) -> float:
        return self._registry[handler].handler.timeout

    def _set_timer(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """Have the timer go off by this time. It stays when attempts end: most end long before their deadline."""
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = loop.call_at(deadline, self._time_out), deadline

    def _time_out(self) -> None:
        """End what is overdue, and wait for the next deadline of what is at work."""
        loop, due = asyncio.get_running_loop(), self._timer_at
        self._timer, self._timer_at = None, math.inf
        # At least what it was set for, even if it goes off a moment early.
        now = max(due, loop.time())
        overdue = [(key, active.claim) for key, active in self._active.items() if active.deadline <= now]
        later = (active.deadline for active in self._active.values() if active.deadline > now)
        self._set_timer(loop, min(later, default=math.inf))
        self._end([(key, self._timed_out(claim)) for key, claim in overdue])

    def _timed_out(self, claim: Claim) -> Outcome:
        seconds = self._timeout(claim.handler)
        blocked, blocker = self._watch.blocked, self._watch.find_blocker()
        if blocker in (None, run_key(claim.event_id, claim.handler)):
            return Outcome.of_timeout(seconds)
        return Outcome.of_error(
            LoopBlocked(f"Not done after {seconds:g} s. {blocked}", after=LOOP_BLOCKED_RETRY_SECONDS)
        )

    def _end(self, outcomes: list[tuple[RunKey, Outcome]]) -> None:
        """End attempts whose handlers may still run."""
        if outcomes:
            self._tasks.cancel([key for key, _ in outcomes])
            self._take(outcomes)

    def _take(self, outcomes: list[tuple[RunKey, Outcome]]) -> None:
        now = self._clock.monotonic()
        ended = []
        for key, outcome in outcomes:
            active = self._active.pop(key, None)
            if active is not None:  # else it was timed out or released before
                self.running[active.claim.handler] -= 1
                ended.append(FinishedAttempt(active.claim, outcome, now - active.began))
        if ended:
            self._ended(ended)


async def _failed(error: Exception) -> Outcome:
    return Outcome.of_error(error)


class _HandlerTasks:
    """The tasks on the handlers' loop. Their outcomes are sent to the intake's loop in batches."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[list[tuple[RunKey, Outcome]]], None]) -> None:
        self._loop = loop
        self._take = take
        self._tasks: dict[RunKey, asyncio.Task[Outcome]] = {}
        self._outcomes: list[tuple[RunKey, Outcome]] = []

    # called from the intake's loop

    def begin(self, calls: list[_Call], back: asyncio.AbstractEventLoop) -> None:
        self._loop.call_soon_threadsafe(self._begin, calls, back)

    def cancel(self, keys: list[RunKey]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: no task runs there
            self._loop.call_soon_threadsafe(self._cancel, keys)

    # on the handlers' loop

    def _begin(self, calls: list[_Call], back: asyncio.AbstractEventLoop) -> None:
        for key, call in calls:
            task = self._tasks[key] = self._loop.create_task(call)
            task.add_done_callback(partial(self._done, key, back))

    def _cancel(self, keys: list[RunKey]) -> None:
        for key in keys:
            if (task := self._tasks.get(key)) is not None:
                task.cancel()

    def _done(self, key: RunKey, back: asyncio.AbstractEventLoop, task: asyncio.Task[Outcome]) -> None:
        del self._tasks[key]
        if task.cancelled():  # by a handler or the shutdown; if by us, its attempt has ended already
            outcome = Outcome.of_error(asyncio.CancelledError())
        else:
            error = task.exception()
            outcome = task.result() if error is None else Outcome.of_error(error)
        self._send(key, outcome, back)

    def _send(self, key: RunKey, outcome: Outcome, back: asyncio.AbstractEventLoop) -> None:
        self._outcomes.append((key, outcome))
        if len(self._outcomes) == 1:  # sent together with all that end in this iteration of the loop
            self._loop.call_soon(self._send_all, back)

    def _send_all(self, back: asyncio.AbstractEventLoop) -> None:
        outcomes, self._outcomes = self._outcomes, []
        with contextlib.suppress(RuntimeError):  # the intake's loop is closed: outcomes are no longer needed
            back.call_soon_threadsafe(self._take, outcomes)
