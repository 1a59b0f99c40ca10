"""Polls the jobs that are watched, and puts their ends through the same inbox as a webhook's.

One loop a source: each has its own pace, and one that is down does not hold up the others.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import pydantic_core
import structlog
from sqlalchemy import Connection

from receiver.engine.clock import Clock, SystemClock
from receiver.errors import AudioRefused, StoreUnavailable
from receiver.metrics import Metrics
from receiver.model.cadence import Cadence, next_wait
from receiver.model.delivery import Delivery, Parsed
from receiver.model.event import COMPLETED, FAILED, Origin
from receiver.model.ids import event_id
from receiver.outbound.api import ask
from receiver.outbound.client import Client
from receiver.providers.base import Provider
from receiver.providers.wire import (
    Account,
    Ended,
    ProviderError,
    RateLimited,
    Running,
    Unauthorized,
    UnknownJob,
)
from receiver.store import inbox, jobs
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from receiver.store.jobs import JobClaim
from receiver.store.schema import JobState

log = structlog.get_logger("receiver.poller")

LOOK_SECONDS = 1.0
"""How often the store is looked at for jobs that another process began to watch."""
LEASE_SECONDS = 60.0
AT_ONCE = 8
"""Requests on their way at one time, a source."""
REFUSED_PAUSE_SECONDS = 300.0
"""How long a source is left alone that refuses our key: a person has to act."""
LIMIT_PAUSE_SECONDS = 60.0
"""How long, where it says "too many requests" and not until when."""
MOST_MISSES = 5
"""Polls in a row to which a provider may say that it does not know a job."""

POLL_TIMEOUT = "POLL_TIMEOUT"
JOB_UNKNOWN = "JOB_UNKNOWN"


@dataclass(frozen=True, slots=True)
class PollSource:
    """What the poller needs to know of a source."""

    name: str
    provider: Provider
    account: Account
    cadence: Cadence
    requests_per_second: float


class Poller:
    """Polls one source's watched jobs until stopped.

    Args:
        client: makes the requests; its guard is the source's.
        handlers_for: names of the handlers that subscribe to an event word.
        wake: called after an event with runs was committed.
    """

    def __init__(
        self,
        database: Database,
        source: PollSource,
        client: Client,
        *,
        handlers_for: Callable[[str], tuple[str, ...]],
        wake: Callable[[], None],
        metrics: Metrics,
        clock: Clock | None = None,
        dice: random.Random | None = None,
    ) -> None:
        self._database = database
        self._source = source
        self._client = client
        self._handlers_for = handlers_for
        self._wake = wake
        self._metrics = metrics
        self._clock = clock or SystemClock()
        self._dice = dice or random.Random()  # noqa: S311 - ids and jitter need no secrecy
        self._log = log.bind(source=source.name)
        self._next_request_at = 0.0
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether its loop still turns."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End. A poll on its way is abandoned; its lease ends by itself."""
        self._stop.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._client.aclose()

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                seconds = await self._round()
            except StoreUnavailable as error:
                self._log.error("poll.store_unavailable", detail=str(error))
                seconds = LOOK_SECONDS
            except Exception:  # noqa: BLE001 - a fault of ours must not end the polling
                self._log.exception("poll.broken")
                seconds = LOOK_SECONDS
            await self._clock.wait(self._stop, seconds)

    async def _round(self) -> float:
        """Poll what is due; seconds until it is worth looking again."""
        now = self._clock.now()
        if self._next_request_at - now > LEASE_SECONDS / 4:  # a claim would be held, and lost, while it waits
            return self._next_request_at - now
        # No more than are asked about well within the lease.
        most = max(1, min(AT_ONCE, int(self._source.requests_per_second * LEASE_SECONDS / 4)))
        claims = await self._database.write(jobs.claim, self._source.name, most, now, now + LEASE_SECONDS)
        if claims:
            async with asyncio.TaskGroup() as group:
                for claim in claims:
                    group.create_task(self._poll_one(claim))
            return 0.0
        due = await self._database.read(jobs.next_due, self._source.name)
        return LOOK_SECONDS if due is None else min(LOOK_SECONDS, max(0.001, due - self._clock.now()))

    async def _pace(self) -> None:
        """Wait for this source's next turn, so that its limit is kept whatever is due."""
        now = self._clock.now()
        at = max(now, self._next_request_at)
        self._next_request_at = at + 1.0 / self._source.requests_per_second
        if at > now:
            await self._clock.wait(self._stop, at - now)

    async def _poll_one(self, claim: JobClaim) -> None:
        """One poll; what goes wrong in it is this job's own, and its lease brings it back."""
        bound = self._log.bind(job=claim.job_id)
        try:
            await self._poll(claim, bound)
        except StoreUnavailable as error:
            bound.error("poll.not_stored", detail=str(error))
        except Exception:  # noqa: BLE001 - a fault of ours must not end the polling of every other job
            bound.exception("poll.broken")

    async def _poll(self, claim: JobClaim, bound: structlog.typing.FilteringBoundLogger) -> None:
        if await self._database.write(self._settled_by_webhook, claim):
            bound.debug("poll.not_needed")
            return
        now = self._clock.now()
        if now >= claim.deadline_at:
            parsed = _gave_up(claim, POLL_TIMEOUT, "The job did not end in time.")
            await self._end(claim, parsed, b"", JobState.EXPIRED, polled=False)
            return
        await self._pace()
        now = self._clock.now()
        paused_until = await self._database.read(jobs.pause_until, claim.source)
        if paused_until > now:  # another job's poll was told to wait
            at = min(paused_until, claim.deadline_at)
            await self._database.write(lambda connection: jobs.reschedule(connection, claim, at, polled=False))
            return
        provider, account = self._source.provider, self._source.account
        try:
            response = await ask(self._client, provider.status_request(account, claim.job_id))
            status = provider.read_status(account, claim.job_id, response)
        except (ProviderError, AudioRefused) as error:
            self._metrics.polls.labels(self._source.name, error.reason).inc()
            await self._trouble(claim, error, bound)
            return
        self._metrics.polls.labels(self._source.name, "ended" if isinstance(status, Ended) else "running").inc()
        if isinstance(status, Ended):
            state = JobState.COMPLETED if status.parsed.type == COMPLETED else JobState.FAILED
            await self._end(claim, status.parsed, response.body, state, polled=True)
        else:
            await self._again(claim, status, now)

    def _settled_by_webhook(self, connection: Connection, claim: JobClaim) -> bool:
        """Whether the job's end is known already; then it is not asked for."""
        known = inbox.terminal_event(connection, claim.source, claim.job_id)
        if known is None:
            return False
        state = JobState.COMPLETED if known.type == COMPLETED else JobState.FAILED
        jobs.end(connection, claim, state, self._clock.now(), known.id, polled=False)
        return True

    async def _again(self, claim: JobClaim, status: Running, now: float) -> None:
        elapsed = now - claim.watched_at
        wait = next_wait(self._source.cadence, claim.polls + 1, elapsed, status.progress, self._dice.random())
        await self._database.write(
            lambda connection: jobs.reschedule(
                connection, claim, min(now + wait, claim.deadline_at), polled=True, progress=status.progress
            )
        )

    async def _trouble(
        self, claim: JobClaim, error: ProviderError | AudioRefused, bound: structlog.typing.FilteringBoundLogger
    ) -> None:
        """What an error means: for the job, and for the whole source."""
        now = self._clock.now()
        bound.warning("poll.failed", reason=error.reason, detail=str(error))
        misses = claim.misses + 1 if isinstance(error, UnknownJob) else 0
        if misses >= MOST_MISSES:
            parsed = _gave_up(claim, JOB_UNKNOWN, "The provider does not know the job, or no longer does.")
            await self._end(claim, parsed, b"", JobState.EXPIRED, polled=True)
            return
        told = error.retry_after if isinstance(error, ProviderError) else None
        pause = None
        if isinstance(error, Unauthorized | AudioRefused):
            pause = now + REFUSED_PAUSE_SECONDS
        elif isinstance(error, RateLimited):
            pause = now + (LIMIT_PAUSE_SECONDS if told is None else told)
        elif told is not None:
            pause = now + told
        wait = next_wait(self._source.cadence, claim.polls + 1, 0.0, None, self._dice.random())
        at = max(now + wait, pause or 0.0)

        def write(connection: Connection) -> None:
            if pause is not None:
                jobs.pause(connection, claim.source, pause, error.reason)
            jobs.reschedule(connection, claim, min(at, claim.deadline_at), polled=True, misses=misses, error=str(error))

        await self._database.write(write)

    async def _end(self, claim: JobClaim, parsed: Parsed, body: bytes, state: JobState, *, polled: bool) -> None:
        """Put the end through the inbox and end the job, in one transaction."""
        now = self._clock.now()
        delivery = Delivery(
            event_id=event_id(now, self._dice.getrandbits(74)),
            source=claim.source,
            type=parsed.type,
            key=claim.job_id,
            job_id=claim.job_id,
            origin=Origin.POLL.value,
            payload=pydantic_core.to_json(parsed.payload).decode(),
            body=body,
            headers="[]",
            key_id=None,
            skew=None,
            received_at=now,
            handlers=self._handlers_for(parsed.type),
        )

        def write(connection: Connection) -> Receipt | None:
            if not jobs.end(connection, claim, state, now, delivery.event_id, polled=polled):
                return None  # somebody else polled it meanwhile, or it is watched no longer
            (receipt,) = inbox.accept(connection, [delivery])
            if receipt.duplicate:
                jobs.point_to(connection, claim.source, claim.job_id, receipt.event_id)
            return receipt

        receipt = await self._database.write(write)
        if receipt is None:
            return
        self._log.info(
            "job.ended",
            event_id=receipt.event_id,
            job=claim.job_id,
            type=parsed.type,
            polls=claim.polls + int(polled),
        )
        if not receipt.duplicate:
            self._metrics.events.labels(claim.source, parsed.type, Origin.POLL.value).inc()
        if not receipt.duplicate or receipt.released:
            self._wake()


def _gave_up(claim: JobClaim, code: str, message: str) -> Parsed:
    return Parsed(FAILED, claim.job_id, {"status": "failed", "error": {"code": code, "message": message}})
