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

import structlog

from receiver.engine.clock import Clock, SystemClock
from receiver.engine.crashes import CrashedRuns
from receiver.engine.plugins import Registry
from receiver.engine.runner import Outcome
from receiver.errors import ReceiverError, StoreUnavailable
from receiver.metrics import Metrics
from receiver.model.event import Event, build_event
from receiver.model.redact import Redactor
from receiver.model.retry import RetryPolicy
from receiver.store import runs
from receiver.store.database import Database
from receiver.store.runs import Claim, Finish
from receiver.store.states import RunState

log = structlog.get_logger("receiver.dispatch")

LOOK_SECONDS = 1.0
"""How often the store is looked at for runs that another process made due."""
LONGEST_ERROR = 2000

Execute = Callable[[str, Event, Claim], "Future[Outcome]"]
"""Start one execution of a handler, by name, on the handlers' loop."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much at once and for how long. Seconds throughout."""

    concurrency: int = 16
    lease_seconds: float = 30.0
    grace_seconds: float = 20.0


@dataclass(slots=True)
class _Held:
    claim: Claim
    task: asyncio.Task[None]


class Dispatcher:
    """Runs handlers for due runs until stopped.

    Args:
        owner: names this process in leases; unique among all that ever ran.
        execute: starts a handler; its future carries an `Outcome`.
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
        self._redact = redact
        self._backoff = backoff or RetryPolicy()
        self._crashed = CrashedRuns(database, registry, backoff=self._backoff, metrics=metrics, rng=dice)
        self._clock = clock or SystemClock()
        self._dice = dice
        self._held: dict[tuple[str, str, int], _Held] = {}
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
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
            late = [task for task in tasks if not task.done()]
            for task in late:
                task.cancel()
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
            await self._clock.wait(self._wake, seconds)

    async def _claim(self) -> float:
        """Claim and start what is due and fits; seconds until it is worth looking again."""
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
            finish = await self._run(claim, bound)
            await self._write(finish, bound)
        finally:
            self._held.pop(key, None)
            self._wake.set()

    async def _run(self, claim: Claim, bound: structlog.typing.FilteringBoundLogger) -> Finish:
        handler = self._registry[claim.handler].handler
        started = self._clock.now()
        self._metrics.start_seconds.observe(max(0.0, started - claim.due_at))
        try:
            event = build_event(**claim.event)
            async with asyncio.timeout(handler.timeout):
                outcome = await asyncio.wrap_future(self._execute(claim.handler, event, claim))
        except TimeoutError:
            outcome = Outcome("timeout", error=TimeoutError(f"not done after {handler.timeout:g} s"))
        except asyncio.CancelledError:
            # Shutdown after the grace period, or a lease that was lost: somebody else may have the run by now.
            outcome = Outcome("released")
        except Exception as error:  # noqa: BLE001 - a run that cannot even start is a failed attempt, not a lost one
            outcome = Outcome("failed", error=error)
        ended = self._clock.now()
        self._metrics.runs.labels(claim.handler, outcome.word).inc()
        self._metrics.handler_seconds.labels(claim.handler).observe(ended - started)
        return self._decide(claim, outcome, ended, handler.attempts, bound)

    def _decide(
        self, claim: Claim, outcome: Outcome, ended: float, attempts: int,
        bound: structlog.typing.FilteringBoundLogger,
    ) -> Finish:  # fmt: skip
        """What an attempt's end means for its run."""
        seconds = round(ended - claim.started, 3)
        if outcome.word == "succeeded":
            bound.info("run.succeeded", seconds=seconds)
            return Finish(claim, self._owner, outcome.word, RunState.SUCCEEDED, ended, result=outcome.result)
        if outcome.word == "released":
            bound.warning("run.given_back", seconds=seconds)
            return Finish(
                claim, self._owner, outcome.word, RunState.PENDING, ended, due_at=ended, forgiven=1,
                crashes=claim.crashes,  # it has not shown yet that it does not end the process
            )  # fmt: skip
        error = self._describe(outcome.error)
        expected = isinstance(outcome.error, ReceiverError | TimeoutError)
        wait = outcome.wait(self._backoff.limited_to(attempts), claim.counted, self._dice())
        if wait is None:
            bound.error(
                "run.dead", outcome=outcome.word, error=error, seconds=seconds, exc_info=not expected and outcome.error
            )
            return Finish(claim, self._owner, outcome.word, RunState.DEAD, ended, error=error)
        due_at = ended + wait
        if not outcome.counts:
            bound.info("run.postponed", error=error, again_in=round(wait, 1))
            return Finish(
                claim, self._owner, outcome.word, RunState.PENDING, ended, due_at=due_at, forgiven=1, error=error
            )
        bound.warning(
            "run.failed",
            outcome=outcome.word,
            error=error,
            seconds=seconds,
            again_in=round(wait, 1),
            exc_info=not expected and outcome.error,
        )
        return Finish(claim, self._owner, outcome.word, RunState.PENDING, ended, due_at=due_at, error=error)

    def _describe(self, error: BaseException | None) -> str:
        if error is None:
            return ""
        try:
            text = str(error) if isinstance(error, ReceiverError) else f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001 - a handler's own exception class, whose text cannot be made
            text = type(error).__name__
        # No store takes an unpaired surrogate, which a file's name can bring in.
        return self._redact(text.encode(errors="backslashreplace").decode())[:LONGEST_ERROR]

    async def _write(self, finish: Finish, bound: structlog.typing.FilteringBoundLogger) -> None:
        """Write a result; while the store is down, keep it and try again as long as the run is ours."""
        while True:
            try:
                held = await self._database.batch(runs.finish, finish)
                break
            except StoreUnavailable as error:
                bound.error("run.result_not_stored", detail=str(error))
                if self._hurry.is_set():  # its lease ends by itself
                    return
                await self._clock.wait(asyncio.Event(), LOOK_SECONDS)
        if not held:
            bound.warning("run.lease_lost", outcome=finish.outcome)

    # leases

    async def _keep_leases(self) -> None:
        while True:
            await self._clock.wait(asyncio.Event(), self._bounds.lease_seconds / 3)
            try:
                await self._extend()
                await self._expire()
            except StoreUnavailable as error:
                log.error("dispatch.leases_not_extended", detail=str(error))

    async def _extend(self) -> None:
        """Extend our own leases first, so that we never take our own runs for crashed ones."""
        held = list(self._held)
        until = self._clock.now() + self._bounds.lease_seconds
        for key in await self._database.write(runs.extend, held, self._owner, until) if held else ():
            if (lost := self._held.get(key)) is not None:
                lost.task.cancel()

    async def _expire(self) -> None:
        """Take up the runs of processes that have let their leases end."""
        now = self._clock.now()
        await self._crashed.take_up(await self._database.read(runs.expired, now), now)
        self._wake.set()
