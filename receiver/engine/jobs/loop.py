"""Claims one source's due jobs, reserves a time for each request, and submits or polls them.

Each source has its own loop, because each has its own rate limit, and one that is down must not delay the others. The
rate limit is kept in the store: it bounds the requests of all processes together.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from sqlalchemy import Connection

from receiver.engine.clock_trust import ClockTrust
from receiver.engine.jobs.claiming import MIN_JOBS_FOR_HISTORY, JobClaimer
from receiver.engine.jobs.completion import JobCompletion
from receiver.engine.jobs.limits import MAX_OPEN_JOBS
from receiver.engine.jobs.polling import Poller
from receiver.engine.jobs.source import JobContext, JobSource, log
from receiver.engine.jobs.submitting import Submitter
from receiver.engine.server_clock import LeaseClock
from receiver.engine.throttle import Throttle
from receiver.errors import StoreUnavailable
from receiver.model.rate_plan import RequestKind
from receiver.model.routing import HandlersFor
from receiver.outbound.client import Client
from receiver.providers.types import HISTORY_PAGE
from receiver.store import job_leases, rate_buckets, throttle_state
from receiver.store.changes import OPEN_POLL_SECONDS
from receiver.store.database import Database
from receiver.store.job_leases import JobClaim
from receiver.store.states import OPEN_JOBS, JobState
from receiver.telemetry.hooks import Telemetry

POLL_INTERVAL_SECONDS = 1.0
"""How often the store is read for jobs that another process created."""
MAX_HISTORY_PAGES = 5
"""Pages of the history that are read although they end few jobs. Then the remaining jobs are polled one by one."""
MAX_REMEMBERED = 10_000
"""Jobs that are remembered as not in the history."""
SUBMIT_GRACE_SECONDS = 10.0
"""How long `stop` waits for submits in progress."""


class SourceLoop:
    """Submits and polls one source's jobs until stopped.

    Args:
        client: makes the requests; its guard is the source's.
        throttle: spaces them, with all other requests to the source.
        owner: names this process in leases, as in `Dispatcher`.
        handlers_for: names of the handlers that get an event.
        wake: called after an event with runs was committed.
        changed: called with our id of a job whose row has changed.
        released: called after jobs were released, which another process can follow now.
        poll_seconds: how long to wait where the store is polled at this interval otherwise.
    """

    def __init__(
        self,
        database: Database,
        source: JobSource,
        client: Client,
        throttle: Throttle,
        *,
        owner: str,
        handlers_for: HandlersFor,
        wake: Callable[[], None],
        telemetry: Telemetry,
        clock: LeaseClock,
        rng: random.Random,
        trust: ClockTrust,
        changed: Callable[[str], None] = lambda _: None,
        released: Callable[[], None] = lambda: None,
        poll_seconds: Callable[[float], float] = lambda usual: usual,
    ) -> None:
        self._database = database
        self._source = source
        self._throttle = throttle
        self._released = released
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._stop = asyncio.Event()
        self._wake_event = asyncio.Event()
        deps = JobContext(
            database=database,
            source=source,
            client=client,
            owner=owner,
            handlers_for=handlers_for,
            wake=wake,
            telemetry=telemetry,
            clock=clock,
            rng=rng,
            stop=self._stop,
            changed=changed,
            throttle=throttle,
            trust=trust,
        )
        completion = JobCompletion(deps)
        self.deps = deps
        self._poller = Poller(deps, completion)
        self.submitter = Submitter(deps, completion)
        self._not_in_history: set[str] = set()
        self._claimer = JobClaimer(deps, self._needs_request, self._not_in_history)
        self._reading_history = False
        self._claims_unknown = False
        """Whether the store may have leases of this process that no task works on."""
        self.storing: set[str] = set()
        """Our ids of the jobs that this process is storing with a lease (`engine.jobs.streaming`)."""
        self._tasks: dict[asyncio.Task[None], list[JobClaim]] = {}
        self._submits: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    @property
    def busy(self) -> bool:
        """Whether it holds leases of jobs."""
        return bool(self._tasks)

    @property
    def alive(self) -> bool:
        """Whether its task runs."""
        return self._task is not None and not self._task.done()

    @property
    def capacity(self) -> int:
        """How many jobs it may claim now."""
        return max(0, MAX_OPEN_JOBS - len(self._tasks)) if self._clock.paused is None else 0

    def start(self) -> None:
        """Start the loop."""
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Look for due jobs now."""
        self._wake_event.set()

    async def stop(self) -> None:
        """Stop. Polls in progress are released at once. Submits get a grace period, then their leases must expire."""
        self._stop.set()
        self._wake_event.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)  # first: it may be claiming jobs
        polls = {task: claims for task, claims in self._tasks.items() if task not in self._submits}
        for task in polls:
            task.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
        try:
            await self._release([claim for task, claims in polls.items() if task.cancelled() for claim in claims])
        except StoreUnavailable as error:
            log.error("poll.not_stored", source=self.name, detail=str(error))
        if self._submits:
            await asyncio.wait(self._submits, timeout=SUBMIT_GRACE_SECONDS)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._released()
        await self.deps.client.aclose()

    async def _run(self) -> None:
        while not self._stop.is_set():
            self._wake_event.clear()
            try:
                seconds = await self._run_once()
            except StoreUnavailable as error:
                self._claims_unknown = True
                log.error("poll.store_unavailable", source=self.name, detail=str(error))
                seconds = POLL_INTERVAL_SECONDS
            except Exception:  # noqa: BLE001 - a bug must not end the loop
                log.exception("poll.broken", source=self.name)
                seconds = POLL_INTERVAL_SECONDS
            await self._clock.wait(self._wake_event, seconds)

    async def _run_once(self) -> float:
        """Claim and start what is due; return the seconds until the next look."""
        capacity = self.capacity
        if capacity == 0:
            return POLL_INTERVAL_SECONDS  # a task that ends wakes us
        if self._claims_unknown and not self._reading_history:  # whose claims are not all known here
            await self._release_unknown()
        now, monotonic = self._clock.now(), self._clock.monotonic()
        batch = await self._database.write(self._claimer.claim_due, capacity, self._claimable(), now)
        batch = batch.shifted(monotonic - now)
        for claim, send_at in batch.single:
            self.start_task(self.process(claim, send_at), [claim])
        if batch.history:
            self.start_task(self._process_history(batch.history, batch.history_at), batch.history)
        at = await self._database.read(self._claimer.next_due_at, self._claimable(), self._clock.now())
        seconds = self._poll_seconds(POLL_INTERVAL_SECONDS)
        return seconds if at is None else min(seconds, OPEN_POLL_SECONDS, max(0.001, at - self._clock.now()))

    def _claimable(self) -> Sequence[JobState]:
        """The states of jobs that may be claimed: while the history is read, it ends jobs, and none is polled."""
        return [JobState.SUBMITTING] if self._reading_history else OPEN_JOBS

    def _needs_request(self, claim: JobClaim, now: float) -> bool:
        if claim.state is not JobState.SUBMITTING:
            return True
        return now < claim.deadline_at and not self.submitter.is_lost(claim)

    def start_task(self, work: Coroutine[Any, Any, None], claims: list[JobClaim]) -> asyncio.Task[None]:
        """Start the work on these claims."""
        task = asyncio.create_task(work)
        self._tasks[task] = claims
        if claims[0].state is JobState.SUBMITTING:
            self._submits.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        full = len(self._tasks) >= MAX_OPEN_JOBS
        self._tasks.pop(task, None)
        self._submits.discard(task)
        if full or not self._tasks:  # otherwise the loop looks again when half of the reserved times have passed
            self._wake_event.set()

    async def process(self, claim: JobClaim, send_at: float) -> None:
        """Process one job. An error affects this job alone, and its lease makes it due again."""
        try:
            try:
                await self._handle(claim, send_at)
            except StoreUnavailable:
                raise
            except Exception:  # noqa: BLE001 - a bug must not stop the work on other jobs
                if claim.state is JobState.SUBMITTING:
                    log.exception("submit.broken", source=self.name, id=claim.id)
                else:
                    log.exception("poll.broken", source=self.name, id=claim.id, job=claim.job_id)
                if claim.state is JobState.WATCHING and self._poller.is_last(claim):
                    await self._poller.expire(claim, polls=1)
        except StoreUnavailable as error:
            self._claims_unknown = True
            log.error("poll.not_stored", source=self.name, job=claim.job_id, detail=str(error))

    async def _handle(self, claim: JobClaim, send_at: float) -> None:
        if claim.state is JobState.SUBMITTING and not self._needs_request(claim, self._clock.now()):
            await self.submitter.give_up(claim)
        elif not await self._throttle.wait_for(kind := self._kind(claim), send_at, self._stop):
            await self._release([claim], kind)
        elif claim.state is JobState.SUBMITTING:
            await self.submitter.submit(claim)
        else:
            await self._poller.poll(claim)

    async def _process_history(self, claims: list[JobClaim], send_at: float) -> None:
        """Look up many jobs in the provider's history; those that are not in it are polled one by one from then on.

        A page that ends several jobs, due or not, saves more requests than it costs: the next one is read, too.
        """
        self._reading_history = True
        try:
            for page in itertools.count():
                if not await self._throttle.wait_for(RequestKind.HISTORY, send_at, self._stop):
                    await self._release(claims, RequestKind.HISTORY)
                    return
                claims, ended, more = await self._poller.poll_history(claims, page * HISTORY_PAGE)
                searching = bool(claims) and page + 1 < MAX_HISTORY_PAGES
                if not more or not (searching or ended >= MIN_JOBS_FOR_HISTORY):
                    break
                if page + 1 == MAX_HISTORY_PAGES:
                    await self._release(claims)  # their leases would expire while it continues
                if (next_at := await self._reserve_next_page()) is None:
                    await self._release(claims)
                    return
                send_at = next_at
            if len(self._not_in_history) > MAX_REMEMBERED:
                self._not_in_history.clear()
            self._not_in_history.update(claim.id for claim in claims)  # too old for the history, now and later
            await self._release(claims)
        except StoreUnavailable as error:
            self._claims_unknown = True
            log.error("poll.not_stored", source=self.name, detail=str(error))
        except Exception:  # noqa: BLE001 - as in `_process`
            log.exception("poll.broken", source=self.name)
        finally:
            self._reading_history = False
            self._wake_event.set()

    async def _reserve_next_page(self) -> float | None:
        """Reserve the next page, and start a due submit; None if the rate limit allows no further page."""
        capacity = min(1, self.capacity)
        now, monotonic = self._clock.now(), self._clock.monotonic()
        batch = await self._database.write(self._claimer.claim_for_page, capacity, now)
        if batch is None:
            return None
        batch = batch.shifted(monotonic - now)
        for claim, send_at in batch.single:
            self.start_task(self.process(claim, send_at), [claim])
        return batch.history_at

    async def _release_unknown(self) -> None:
        """Release what this process holds and no task works on, because the store was unavailable."""
        self._claims_unknown = False
        known = self.storing | {claim.id for claims in self._tasks.values() for claim in claims}
        released = await self._database.write(job_leases.release_unknown, self.name, known, self.deps.owner)
        if released:
            log.info("poll.claims_released", source=self.name, jobs=released)

    async def _release(self, claims: Sequence[JobClaim], unsent: RequestKind | None = None) -> None:
        """Release claims.

        Args:
            unsent: the kind of the request that was reserved for them and not sent.
        """
        now = self._clock.now()

        def write(connection: Connection) -> None:
            if unsent is not None:
                rate_buckets.refund(connection, self.name, unsent, 1, now)
            at = max(now, throttle_state.get(connection, self.name).pause_until)
            for claim in claims:
                job_leases.release(connection, claim, min(at, claim.deadline_at), now)

        if claims:
            await self._database.write(write)

    def _kind(self, claim: JobClaim) -> RequestKind:
        return self.submitter.kind(claim) if claim.state is JobState.SUBMITTING else RequestKind.STATUS
