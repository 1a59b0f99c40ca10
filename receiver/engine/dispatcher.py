"""Claims due runs, has them executed and writes their results, in turns. Each turn is one transaction.

The dispatcher runs on the intake's event loop and handlers on a loop of their own, so no handler can delay leases and
timeouts. Results of attempts that end during a commit are written in the next turn (docs/adr/0057). If they are many,
and the store is in a server, that turn begins at once, beside the first one (docs/adr/0090).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from receiver.engine.attempt_result import AttemptResult, AttemptRules
from receiver.engine.crashes import CrashedRuns
from receiver.engine.executions import Execute, Executions, FinishedAttempt, LoopWatch
from receiver.engine.lease_keeper import LeaseKeeper
from receiver.engine.plugins import Registry
from receiver.engine.run_reports import RunReports
from receiver.engine.server_clock import LeaseClock
from receiver.engine.turn_claims import FIRST, PREFETCH_SECONDS, SECOND, Overlap, PrefetchedClaims
from receiver.errors import StoreUnavailable
from receiver.model.redact import Redactor
from receiver.model.retry import RetryPolicy
from receiver.store import turns
from receiver.store.backend import Processes
from receiver.store.changes import QUIET_POLL_SECONDS, Change
from receiver.store.claims import Claim, Claimed, ClaimRequest, RunKey
from receiver.store.database import Database
from receiver.store.leases import Lease
from receiver.store.states import RunState
from receiver.store.turns import Turn, Written
from receiver.telemetry.deferred import DeferredCalls
from receiver.telemetry.hooks import LEASE_LOST, NOT_STORED, RELEASED, Telemetry, Token
from receiver.telemetry.log import run_fields

log = structlog.get_logger("receiver.dispatch")

POLL_INTERVAL_SECONDS = 1.0
"""How often the store is polled for runs that another process made due."""
BLOCKED_POLL_INTERVAL_SECONDS = 0.1
"""How often the dispatcher checks whether a blocked handlers' loop runs again, or a wrong clock is right."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of the dispatcher: runs at one time, and seconds."""

    concurrency: int = 16
    lease_seconds: float = 30.0
    grace_seconds: float = 20.0


class Dispatcher:
    """Runs handlers for due runs until stopped.

    Args:
        owner: names this process in leases; no other process has ever had this name.
        execute: makes the coroutine that executes a handler once.
        handlers: the loop that handlers run on.
        watch: reports whether that loop is blocked.
        on_storage_wait: called after a run was stored that waits for the audio storage.
        processes: those that share the store; they are notified when a run is due, or may start within a bound of all.
        backoff: the waits between attempts; each handler's own number of attempts replaces the policy's.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        execute: Execute,
        handlers: asyncio.AbstractEventLoop,
        *,
        owner: str,
        bounds: Bounds,
        telemetry: Telemetry,
        redact: Redactor,
        backoff: RetryPolicy | None = None,
        watch: LoopWatch,
        on_storage_wait: Callable[[], None] = lambda: None,
        processes: Processes,
        clock: LeaseClock,
        rng: random.Random,
    ) -> None:
        self._database = database
        self._registry = registry
        self._owner = owner
        self._bounds = bounds
        self._slots = registry.slots(bounds.concurrency)
        self._prefetched = PrefetchedClaims(self._slots)
        self._telemetry = telemetry
        backoff = backoff or RetryPolicy()
        self._rules = AttemptRules(owner, backoff, redact)
        self._rng = rng
        self._watch = watch
        self._reports = RunReports(telemetry, on_storage_wait)
        self._processes = processes
        self._clock = clock
        self._executions = Executions(registry, execute, handlers, watch=watch, clock=self._clock, ended=self._on_ended)
        crashed = CrashedRuns(database, registry, backoff=backoff, telemetry=telemetry, rng=self._rng)
        self._leases = LeaseKeeper(
            database, owner=owner, seconds=bounds.lease_seconds, clock=clock, processes=processes, crashed=crashed,
            held=self._known, lost=self._executions.release, recovered=self.runs_due, looked=self.wake,
        )  # fmt: skip
        two_writers = database.has_second_writer
        self._overlap = Overlap(self._slots, two_writers=two_writers, plain=self._is_plain, ended=self.wake)
        self._held: dict[RunKey, Token] = {}
        """Started, until the result is in the store or given up; with what `run_started` returned."""
        self._claims_unknown = False
        """Whether the store may have committed claims and we did not learn it."""
        self._deferred = DeferredCalls()
        self._results: list[AttemptResult] = []
        """To be written in the next turn."""
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._claims_ended = asyncio.Event()
        self._grace_ended = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._turn = 0

    @property
    def busy(self) -> bool:
        """Whether any handler runs, or a result is not written yet."""
        return bool(self._held)

    @property
    def alive(self) -> bool:
        """Whether both of its tasks still run."""
        return bool(self._loops) and not any(loop.done() for loop in self._loops)

    def start(self) -> None:
        """Begin claiming."""
        self._loops = [asyncio.create_task(self._turn_until_stopped()), asyncio.create_task(self._leases.run())]

    def wake(self) -> None:
        """Take a turn now: a run may be due."""
        self._wake.set()

    def runs_due(self) -> None:
        """This process committed runs that are due: take a turn now, and tell other processes."""
        self._wake.set()
        self._processes.announce(Change.RUNS)

    def leases_ended(self) -> None:
        """Recover the runs of a dead process now: its leases were ended."""
        self._leases.leases_ended()

    async def stop(self) -> None:
        """Claim no more; release what has not started, and after the grace period what has not ended."""
        self._stop.set()
        self._wake.set()
        if self._loops:
            await self._wait_for(self._claims_ended)
            if self._held:
                grace = self._bounds.grace_seconds
                log.info("dispatch.waiting_for_handlers", running=len(self._held), grace_seconds=grace)
                await self._wait_for(self._grace_ended, grace)
            self.end_grace_period()  # the grace is over: a result that cannot be stored is not tried again
            self._executions.release_all()
            await asyncio.wait(self._loops[:1])
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        for number in (FIRST, SECOND):
            self._executions.discard_prepared(number)
        self._deferred.run()

    def end_grace_period(self) -> None:
        """End the grace period now."""
        self._grace_ended.set()
        self._wake.set()

    async def _wait_for(self, event: asyncio.Event, seconds: float | None = None) -> None:
        """Wait until the event is set, the turns end, or the time is over."""
        waiting = asyncio.ensure_future(event.wait())
        await asyncio.wait([waiting, *self._loops[:1]], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    # turns

    async def _turn_until_stopped(self) -> None:
        while not self._is_over:
            self._wake.clear()
            stopping = self._stop.is_set()
            try:
                seconds = await self._take_turn()
            except Exception:
                log.exception("dispatch.broken")
                seconds = POLL_INTERVAL_SECONDS
            if stopping:  # was set before the turn began: an earlier turn may have claimed
                self._claims_ended.set()
            if not self._is_over:
                await self._clock.wait(self._wake, seconds)

    @property
    def _is_over(self) -> bool:
        if not self._claims_ended.is_set() or self._held:
            return False
        return not self._prefetched.to_release or self._grace_ended.is_set()

    async def _take_turn(self) -> float:
        """Write results, start and claim due runs; returns the seconds until the next turn."""
        await self._overlap.wait(len(self._results))
        blocked = (self._watch.blocked or self._clock.paused) is not None  # another process may claim the runs
        stopping = self._stop.is_set()
        if blocked or stopping:
            self._prefetched.release_all()
        else:
            self._prefetched.release_surplus(self._clock.monotonic())
        request = None if blocked or stopping else self._claim_request(FIRST)
        results, self._results = self._results, []
        known = self._known() if self._claims_unknown else None
        turn = Turn(self._owner, [result.row for result in results], self._prefetched.to_release, request, known)
        seconds = QUIET_POLL_SECONDS if self._processes.quiet else POLL_INTERVAL_SECONDS
        if blocked:
            seconds = BLOCKED_POLL_INTERVAL_SECONDS
        elif self._prefetched.claims:
            seconds = PREFETCH_SECONDS
        with self._overlap.first():
            return min(seconds, await self._write(FIRST, turn, results)) if turn else seconds

    def _is_plain(self) -> bool:
        """Whether the next turns only write results and start runs, in any order."""
        if self._stop.is_set() or self._claims_unknown or (self._watch.blocked or self._clock.paused) is not None:
            return False
        return not self._prefetched.needs_turns(self._clock.monotonic())

    def _begin_second_turn(self) -> bool:
        """Begin to write what has ended beside the first turn; False if there is none, or little has ended."""
        if not self._overlap.may_begin(len(self._results)):
            return False
        results, self._results = self._results, []
        turn = Turn(self._owner, [result.row for result in results], request=self._claim_request(SECOND))
        self._overlap.begin(self._write(SECOND, turn, results))
        return True

    def _claim_request(self, number: int) -> ClaimRequest | None:
        """What to claim and start now; None if no run could start."""
        free = self._overlap.free(number, self._executions.running, self._turn)
        if not free.startable():
            return None
        now = self._clock.now()
        lease = Lease(self._owner, now + self._bounds.lease_seconds)
        return ClaimRequest(free, lease, now, self._prefetched.claims, self._prefetched.wanted(self._clock.monotonic()))

    async def _write(self, number: int, turn: Turn, results: list[AttemptResult]) -> float:
        """Write a turn with these results; returns the seconds until the next turn.

        While the store is unavailable, results are kept and written again as long as this process holds their runs.
        """
        try:
            written = await self._database.write(
                turns.write, turn, executing=self._deferred.run, committing=partial(self._prepare, number),
                beside=number == SECOND,
            )  # fmt: skip
        except StoreUnavailable as error:
            self._keep(turn, results, error)
        except Exception:
            parts = list(turn.parts())
            if len(parts) > 1:
                waiting = iter(results)
                return min([await self._write(number, part, [next(waiting) for _ in part.results]) for part in parts])
            if not results:
                raise
            self._give_up(results[0].row.claim, results[0].row.outcome, results[0].seconds)
        else:
            if turn.releases:
                self._prefetched.to_release = []
                for claim in turn.releases:
                    self._telemetry.claim_ended(claim, RELEASED)
            if turn.known is not None:
                self._claims_unknown = False
            if written.released:
                log.info("dispatch.claims_released", runs=written.released)
            seconds = self._start(number, written.claimed) if written.claimed else QUIET_POLL_SECONDS
            if turn.request is not None and len(written.started) == turn.request.free.limit:
                seconds = 0.0  # there are more slots
            due = turn.releases or written.released or any(result.row.state == RunState.PENDING for result in results)
            if due or self._slots.frees([result.row.claim.handler for result in results], written.started):
                self._processes.announce(Change.RUNS)
            if results:
                tokens = [self._held.pop(result.row.claim.key) for result in results]
                self._deferred.add(self._reports.report, results, written.held, tokens)
            return seconds
        self._executions.discard_prepared(number)
        return POLL_INTERVAL_SECONDS

    def _prepare(self, number: int, written: Written) -> None:
        """What there is time for while a turn is being committed."""
        self._deferred.run()
        if written.claimed is not None:
            self._executions.prepare(number, written.claimed.started)

    def _keep(self, turn: Turn, results: list[AttemptResult], error: StoreUnavailable) -> None:
        if turn.request is not None:
            self._claims_unknown = True
            log.error("dispatch.store_unavailable", detail=str(error))
        for result in results:
            claim = result.row.claim
            log.error("run.result_not_stored", detail=str(error), **run_fields(claim))
            if self._grace_ended.is_set():  # its lease expires
                self._discard(claim, result.row.outcome, result.seconds, NOT_STORED)
            else:
                self._results.append(result)

    def _start(self, number: int, claimed: Claimed) -> float:
        """Execute the runs that were started; returns the seconds until the next turn."""
        now = self._clock.now()
        for claim in claimed.new:
            self._telemetry.run_claimed(claim)
        for claim in claimed.started:
            self._held[claim.key] = self._telemetry.run_started(claim, now - claim.due_at)
        if claimed.started:
            self._executions.start(number, claimed.started)
            self._turn += 1
        for claim in claimed.lost:
            self._telemetry.claim_ended(claim, LEASE_LOST)
        self._prefetched.claims = claimed.prefetched
        return QUIET_POLL_SECONDS if claimed.due_at is None else max(0.001, claimed.due_at - now)

    def _on_ended(self, attempts: list[FinishedAttempt]) -> None:
        """Decide the results of attempts; they are written in the next turn."""
        now, at = self._clock.now(), self._clock.monotonic()
        for ended in attempts:
            claim = ended.claim
            self._prefetched.ended(claim.handler, ended.seconds, at)
            allowed = self._registry[claim.handler].handler.attempts
            try:
                self._results.append(self._rules.decide(ended, now, allowed, self._rng.random()))
            except Exception:  # noqa: BLE001 - logged there
                self._give_up(claim, ended.outcome.word, ended.seconds)
        if not self._begin_second_turn():
            self._wake.set()

    def _give_up(self, claim: Claim, outcome: str, seconds: float) -> None:
        """Discard an attempt because of a bug, from its `except` block: the lease expires, and the run starts again."""
        log.exception("dispatch.broken", **run_fields(claim))
        self._discard(claim, outcome, seconds, NOT_STORED)

    def _discard(self, claim: Claim, outcome: str, seconds: float, reason: str) -> None:
        self._telemetry.run_discarded(self._held.pop(claim.key), claim, outcome, seconds, reason)

    def _known(self) -> list[RunKey]:
        return [*self._held, *(claim.key for claims in self._prefetched.claims.values() for claim in claims)]
