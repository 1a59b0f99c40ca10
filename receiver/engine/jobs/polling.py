"""One poll, or one look into the provider's history for many jobs, and what the answer means."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import pydantic_core
from sqlalchemy import Connection

from receiver.engine.jobs.ending import Ending, gave_up
from receiver.engine.jobs.source import Surroundings, log
from receiver.engine.throttle import pause_for
from receiver.errors import UnusableAddress
from receiver.model.cadence import next_wait
from receiver.providers.protocols import require_history
from receiver.providers.types import HISTORY_PAGE, Ended, ProviderError, Running, Status, UnknownJob
from receiver.store import holding, pace
from receiver.store.ends import state_of
from receiver.store.holding import JobClaim
from receiver.store.states import JobState

MOST_MISSES = 5
"""Polls in a row to which a provider may say that it does not know a job."""
NEW_JOB_SECONDS = 300.0
"""For how long after a submit a provider may answer 404 for the job whose id it returned: its replicas may lag."""

NOTE_SECONDS = 30.0
"""How exactly it is known when the source last answered."""

POLL_TIMEOUT = "POLL_TIMEOUT"
JOB_UNKNOWN = "JOB_UNKNOWN"


class Looked(NamedTuple):
    """What one page of the history said.

    Attributes:
        left: the claims that it says nothing of; all of them if it cannot be read.
        ended: how many jobs it ended.
        more: whether there may be a further page.
    """

    left: list[JobClaim]
    ended: int
    more: bool


class Polling:
    """Polls jobs of one source, each when it has its turn."""

    def __init__(self, around: Surroundings, ending: Ending) -> None:
        self._around = around
        self._ending = ending
        self._noted_at = float("-inf")

    def is_last(self, claim: JobClaim) -> bool:
        """Whether the job's deadline has surely passed: it is asked about once more, and then given up."""
        passed = self._around.clock.now() >= claim.deadline_at
        return passed and self._around.trust.vouches_for(claim.allowed_seconds)

    def _is_new(self, claim: JobClaim) -> bool:
        """Whether the provider accepted the job from us recently. An id that an operator named may be wrong."""
        submitted_at = claim.submitted_at
        return submitted_at is not None and self._around.clock.now() < submitted_at + NEW_JOB_SECONDS

    async def expire(self, claim: JobClaim, *, polls: int) -> None:
        """The job has not ended in time."""
        parsed = gave_up(claim.job_id or "", POLL_TIMEOUT, "The job did not end in time.")
        await self._ending.end(claim, parsed, b"", JobState.EXPIRED, polls=polls)

    async def poll(self, claim: JobClaim) -> None:
        """Ask for one job's status."""
        around, job_id = self._around, claim.job_id or ""
        provider, account = around.source.provider, around.source.account
        try:
            response = await around.ask(provider.status_request(account, job_id))
            status = provider.read_status(account, job_id, response)
        except (ProviderError, UnusableAddress) as error:
            self._count(error.reason)
            await self._trouble(claim, error)
            return
        await self._said(claim, status, response.body)

    async def look_up(self, claims: Sequence[JobClaim], offset: int) -> Looked:
        """Ask for one page of the history: for what is claimed, and to end whatever else has ended by it."""
        around = self._around
        provider, account = require_history(around.source.provider), around.source.account
        try:
            response = await around.ask(provider.history_request(account, offset))
            found = provider.read_history(account, response)
        except (ProviderError, UnusableAddress) as error:
            self._count(error.reason)
            log.warning("history.failed", source=around.source.name, reason=error.reason, detail=str(error))
            await around.throttle.pause_after(error)
            return Looked(list(claims), 0, more=False)
        ours = [claim for claim in claims if claim.job_id in found]
        others = {job_id for job_id, status in found.items() if isinstance(status, Ended)}
        others -= {claim.job_id or "" for claim in ours}
        name, now = around.source.name, around.clock.now()
        ours += await around.database.write(holding.claim_named, name, sorted(others), now, around.lease(now))
        said = [(claim, found[claim.job_id or ""]) for claim in ours]
        await asyncio.gather(*(self._said(claim, status, _row(status)) for claim, status in said))
        left = [claim for claim in claims if claim.job_id not in found]
        return Looked(left, sum(isinstance(status, Ended) for _, status in said), more=len(found) >= HISTORY_PAGE)

    async def _said(self, claim: JobClaim, status: Status, body: bytes) -> None:
        self._count("ended" if isinstance(status, Ended) else "running")
        clock = self._around.clock
        if clock.monotonic() - self._noted_at >= NOTE_SECONDS:
            self._noted_at = clock.monotonic()
            await self._around.database.write(pace.heard, claim.source, clock.now())
        if isinstance(status, Ended):
            await self._ending.end(claim, status.parsed, body, state_of(status.parsed.type), polls=1)
        else:
            await self._again(claim, status)

    async def _again(self, claim: JobClaim, status: Running) -> None:
        if self.is_last(claim):
            await self.expire(claim, polls=1)
            return
        around, now = self._around, self._around.clock.now()
        elapsed = now - claim.created_at
        wait = next_wait(around.source.cadence, claim.polls + 1, elapsed, status.progress, around.dice.random())
        at = _next_poll(now, now + wait, claim)
        await around.database.write(
            lambda connection: holding.reschedule(connection, claim, at, now, progress=status.progress)
        )
        around.changed(claim.id)

    async def _trouble(self, claim: JobClaim, error: ProviderError | UnusableAddress) -> None:
        """What an error means: for the job, and for the whole source."""
        around, now = self._around, self._around.clock.now()
        log.warning("poll.failed", source=claim.source, job=claim.job_id, reason=error.reason, detail=str(error))
        misses = claim.misses + 1 if isinstance(error, UnknownJob) else 0
        if misses >= MOST_MISSES and not self._is_new(claim):
            parsed = gave_up(claim.job_id or "", JOB_UNKNOWN, "The provider does not know the job, or no longer does.")
            await self._ending.end(claim, parsed, b"", JobState.EXPIRED, polls=1)
            return
        if self.is_last(claim):
            await around.throttle.pause_after(error)
            await self.expire(claim, polls=1)
            return
        pause = pause_for(error, now)
        wait = next_wait(around.source.cadence, claim.polls + 1, 0.0, None, around.dice.random())
        at = _next_poll(now, max(now + wait, pause or 0.0), claim)

        def write(connection: Connection) -> None:
            around.throttle.store_pause(connection, pause, error.reason, now)
            holding.reschedule(connection, claim, at, now, misses=misses, code=error.reason, error=str(error))

        await around.database.write(write)
        around.throttle.look_again()
        around.changed(claim.id)

    def _count(self, outcome: str) -> None:
        self._around.metrics.polls.labels(self._around.source.name, outcome).inc()


def _next_poll(now: float, at: float, claim: JobClaim) -> float:
    """When to poll next: at the deadline at the latest, unless that has passed by a clock that is not trusted."""
    return min(at, claim.deadline_at) if claim.deadline_at > now else at


def _row(status: Status) -> bytes:
    """A job's row in a history, to be kept with its event."""
    document = status.document if isinstance(status, Ended) else None
    return b"" if document is None else pydantic_core.to_json(document)
