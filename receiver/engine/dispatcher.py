"""Claims due runs, has them executed, writes how they ended.

Lives on the intake's loop, handlers on their own: leases are extended and timeouts kept whatever a handler does.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import structlog

from receiver.engine.attempt_result import AttemptResult, AttemptRules
from receiver.engine.clock import Clock, SystemClock
from receiver.engine.crashes import CrashedRuns
from receiver.engine.outcome import Outcome
from receiver.engine.plugins import Registry
from receiver.engine.runner import run_key
from receiver.errors import HeldUp, StoreUnavailable
from receiver.metrics import Metrics
from receiver.model.event import Event, build_event
from receiver.model.redact import Redactor
from receiver.model.retry import RetryPolicy
from receiver.store import runs, waiting_runs
from receiver.store.database import Database
from receiver.store.runs import Claim, Finish

log = structlog.get_logger("receiver.dispatch")

LOOK_SECONDS = 1.0
"""How often the store is looked at for runs that another process made due."""
BLOCKED_LOOK_SECONDS = 0.1
"""How often it is looked whether the handlers' loop turns again."""

Execute = Callable[[str, Event, Claim], "Future[Outcome]"]
"""Start one execution of a handler, by name, on the handlers' loop."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much at once and for how long. Seconds throughout."""

    concurrency: int = 16
    lease_seconds: float = 30.0
    grace_seconds: float = 20.0


class LoopWatch(Protocol):
    """Tells whether the handlers' loop is blocked."""

    @property
    def blocked(self) -> str | None:
        """Who blocks it; None while it turns."""

    def find_blocker(self) -> str | None:
        """The `run_key` of the run that blocks it, if known."""


@dataclass(slots=True)
class _Held:
    claim: Claim
    task: asyncio.Task[None]
    executing: bool = True

    def stop_handler(self) -> None:
        """Cancel the handler. A result that is being written is left alone: the store decides whether it counts."""
        if self.executing:
            self.task.cancel()


class Dispatcher:
    """Runs handlers for due runs until stopped.

    Args:
        owner: names this process in leases; unique among all that ever ran.
        execute: starts a handler; its future carries an `Outcome`.
        watch: of the loop that `execute` uses.
        waits: called after a run was stored that waits for the audio storage.
        backoff: the shape of the waits; each handler's own number of attempts replaces the policy's.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        execute: Execute,
        *,
        owner: str,
        bounds: Bounds,
        metrics: Metrics,
        redact: Redactor,
        backoff: RetryPolicy | None = None,
        watch: LoopWatch,
        waits: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._registry = registry
        self._execute = execute
        self._owner = owner
        self._bounds = bounds
        self._slots = registry.slots(bounds.concurrency)
        self._metrics = metrics
        self._backoff = backoff or RetryPolicy()
        self._rules = AttemptRules(owner, self._backoff, redact)
        self._crashed = CrashedRuns(database, registry, backoff=self._backoff, metrics=metrics, rng=dice)
        self._watch = watch
        self._waits = waits
        self._clock = clock or SystemClock()
        self._dice = dice
        self._held: dict[tuple[str, str, int], _Held] = {}
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._leases_ended = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._turn = 0

    @property
    def busy(self) -> bool:
        """Whether any handler runs."""
        return bool(self._held)

    @property
    def alive(self) -> bool:
        """Whether both of its loops still turn."""
        return bool(self._loops) and not any(loop.done() for loop in self._loops)

    def start(self) -> None:
        """Begin claiming."""
        self._loops = [asyncio.create_task(self._claim_until_stopped()), asyncio.create_task(self._keep_leases())]

    def wake(self) -> None:
        """Something may be due: look now."""
        self._wake.set()

    def leases_ended(self) -> None:
        """Leases of a dead process were ended: take up its runs now."""
        self._leases_ended.set()

    async def stop(self) -> None:
        """Claim no more; give running handlers the grace period; give the leases of the rest back."""
        self._stop.set()
        self._wake.set()
        if self._loops:
            await asyncio.wait(self._loops[:1])
        tasks = [held.task for held in self._held.values()]
        if tasks:
            log.info("dispatch.waiting_for_handlers", running=len(tasks), grace_seconds=self._bounds.grace_seconds)
            ended = asyncio.ensure_future(asyncio.wait(tasks))
            hurried = asyncio.ensure_future(self._hurry.wait())
            await asyncio.wait(
                [ended, hurried], timeout=self._bounds.grace_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            hurried.cancel()
            self._hurry.set()  # the grace is over: a result that cannot be stored is not tried again
            for held in self._held.values():
                held.stop_handler()
            await ended
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def hurry(self) -> None:
        """End the grace period now."""
        self._hurry.set()

    # claiming

    async def _claim_until_stopped(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                seconds = await self._claim()
            except StoreUnavailable as error:
                log.error("dispatch.store_unavailable", detail=str(error))
                seconds = LOOK_SECONDS
            except Exception:
                log.exception("dispatch.broken")
                seconds = LOOK_SECONDS
            await self._clock.wait(self._wake, seconds)

    async def _claim(self) -> float:
        """Claim and start what is due and fits; seconds until it is worth looking again."""
        if self._watch.blocked is not None:  # another process may have what would only be held up here
            return BLOCKED_LOOK_SECONDS
        free = self._slots.free(Counter(held.claim.handler for held in self._held.values()), self._turn)
        startable = free.startable()
        if not startable:
            return LOOK_SECONDS
        now = self._clock.now()
        claims = await self._database.write(runs.claim, free, self._owner, now, now + self._bounds.lease_seconds)
        for claim in claims:
            key = (claim.event_id, claim.handler, claim.attempt)
            self._held[key] = _Held(claim, asyncio.create_task(self._attempt(claim)))
        if claims:
            self._turn += 1
            return 0.0  # perhaps there is more
        due = await self._database.read(runs.next_due, startable)
        return LOOK_SECONDS if due is None else min(LOOK_SECONDS, max(0.001, due - self._clock.now()))

    # one attempt

    async def _attempt(self, claim: Claim) -> None:
        key = (claim.event_id, claim.handler, claim.attempt)
        bound = log.bind(
            source=claim.event["source"],
            event_id=claim.event_id,
            job=claim.event["job_id"],
            handler=claim.handler,
            attempt=claim.counted,
        )
        try:
            result = await self._run(claim)
            self._held[key].executing = False
            if await self._write(result.finish, bound):
                self._metrics.runs.labels(claim.handler, result.finish.outcome).inc()
                result.report(bound)
        finally:
            self._held.pop(key, None)
            self._wake.set()

    async def _run(self, claim: Claim) -> AttemptResult:
        handler = self._registry[claim.handler].handler
        started = self._clock.monotonic()
        self._metrics.start_seconds.observe(max(0.0, self._clock.now() - claim.due_at))
        try:
            event = build_event(**claim.event)
            async with asyncio.timeout(handler.timeout):
                outcome = await asyncio.wrap_future(self._execute(claim.handler, event, claim))
        except TimeoutError:
            outcome = self._timed_out(claim, handler.timeout)
        except asyncio.CancelledError as error:
            # Shutdown after the grace period, or a lease that was lost: somebody else may have the run by now.
            # Otherwise the handler cancelled its own task.
            outcome = Outcome("released") if _is_cancelled() else Outcome.of_error(error)
        except Exception as error:  # noqa: BLE001 - a run that cannot even start is a failed attempt, not a lost one
            outcome = Outcome.of_error(error)
        self._metrics.handler_seconds.labels(claim.handler).observe(self._clock.monotonic() - started)
        return self._rules.decide(claim, outcome, self._clock.now(), handler.attempts, self._dice())

    def _timed_out(self, claim: Claim, seconds: float) -> Outcome:
        blocked, blocker = self._watch.blocked, self._watch.find_blocker()
        if blocker in (None, run_key(claim.event_id, claim.handler)):
            return Outcome.of_timeout(seconds)
        return Outcome.of_error(HeldUp(f"Not done after {seconds:g} s. {blocked}", after=LOOK_SECONDS))

    async def _write(self, finish: Finish, bound: structlog.typing.FilteringBoundLogger) -> bool:
        """Write a result; while the store is down, keep it and try again as long as this process holds the run.

        Returns:
            Whether it is in the store.
        """
        while True:
            try:
                end = waiting_runs.finish if finish.waits_for else runs.finish
                held = await self._database.batch(end, finish)
                break
            except StoreUnavailable as error:
                bound.error("run.result_not_stored", detail=str(error))
                if self._hurry.is_set():  # its lease expires
                    return False
                await self._clock.wait(self._hurry, LOOK_SECONDS)
            except Exception:  # noqa: BLE001 - a bug of ours: the lease expires, and the run starts again
                bound.exception("dispatch.broken")
                return False
        if not held:
            bound.warning("run.lease_lost", outcome=finish.outcome)
        elif finish.waits_for:
            self._waits()
        return held

    # leases

    async def _keep_leases(self) -> None:
        while True:
            self._leases_ended.clear()
            try:
                await self._extend()
                await self._expire()
            except StoreUnavailable as error:
                log.error("dispatch.leases_not_extended", detail=str(error))
            except Exception:
                log.exception("dispatch.leases_broken")
            await self._clock.wait(self._leases_ended, self._bounds.lease_seconds / 3)

    async def _extend(self) -> None:
        """Extend our own leases first, so that we never take our own runs for crashed ones."""
        held = list(self._held)
        until = self._clock.now() + self._bounds.lease_seconds
        for key in await self._database.write(runs.extend, held, self._owner, until) if held else ():
            if (lost := self._held.get(key)) is not None:
                lost.stop_handler()

    async def _expire(self) -> None:
        """Take up the runs of processes that have let their leases end."""
        now = self._clock.now()
        await self._crashed.take_up(await self._database.read(runs.expired, now), now)
        self._wake.set()


def _is_cancelled() -> bool:
    """Whether the running task itself was cancelled, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
