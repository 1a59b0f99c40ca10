"""Polls one job, or looks up many in the provider's history, and stores what the response means."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pydantic_core
from sqlalchemy import Connection

from receiver.engine.jobs.completion import JobCompletion, failed_event
from receiver.engine.jobs.source import JobContext
from receiver.engine.provider_calls import call_provider
from receiver.errors import UnusableAddress
from receiver.model.job_durations import measured_seconds
from receiver.model.poll_schedule import next_wait
from receiver.model.rate_plan import RequestKind
from receiver.providers.protocols import require_history
from receiver.providers.types import HISTORY_PAGE, Ended, ProviderError, Running, Status, UnknownJob
from receiver.store import job_durations, job_leases, throttle_state
from receiver.store.completion import final_state
from receiver.store.job_leases import JobClaim
from receiver.store.states import JobState

MAX_MISSES = 5
"""After so many consecutive "unknown job" responses a job is given up."""
NEW_JOB_SECONDS = 300.0
"""For how long after a submit a 404 does not end a job: the provider's replicas may lag."""

RESPONSE_RECORD_SECONDS = 30.0
"""How often the time of the source's last response is stored."""

POLL_TIMEOUT = "POLL_TIMEOUT"
JOB_UNKNOWN = "JOB_UNKNOWN"


class HistoryPage(NamedTuple):
    """The result of reading one page of the history.

    Attributes:
        left: the claims that are not on it; all of them if it cannot be read.
        ended: how many jobs it ended.
        more: whether there may be a further page.
    """

    left: list[JobClaim]
    ended: int
    more: bool


class Poller:
    """Polls jobs of one source, each at its scheduled time."""

    def __init__(self, deps: JobContext, completion: JobCompletion) -> None:
        self._deps = deps
        self._completion = completion
        self._recorded_at = float("-inf")

    def is_last(self, claim: JobClaim) -> bool:
        """Whether the job's deadline has passed by a trusted clock: the job is polled once more, and then given up."""
        expired = self._deps.clock.now() >= claim.deadline_at
        return expired and self._deps.trust.confirms_wait(claim.allowed_seconds)

    def _is_new(self, claim: JobClaim) -> bool:
        """Whether this receiver submitted the job recently. An id that an operator gave may be wrong."""
        submitted_at = claim.submitted_at
        return submitted_at is not None and self._deps.clock.now() < submitted_at + NEW_JOB_SECONDS

    async def expire(self, claim: JobClaim, *, polls: int) -> None:
        """Give up a job that has not ended by its deadline."""
        parsed = failed_event(claim.job_id or "", POLL_TIMEOUT, "The job did not end in time.")
        await self._completion.complete(claim, parsed, b"", JobState.EXPIRED, polls=polls)

    async def poll(self, claim: JobClaim) -> None:
        """Request one job's status."""
        deps, job_id = self._deps, claim.job_id or ""
        provider, account = deps.source.provider, deps.source.account
        try:
            response = await deps.send(RequestKind.STATUS, call_provider(provider.status_request, account, job_id))
            status = call_provider(provider.read_status, account, job_id, response)
        except (ProviderError, UnusableAddress) as error:
            deps.telemetry.job_polled(claim.source, job_id, error.reason, error)
            await self._handle_error(claim, error)
            return
        await self._apply_status(claim, status, response.body)

    async def poll_history(self, claims: Sequence[JobClaim], offset: int) -> HistoryPage:
        """Request one page of the history, for the claimed jobs and for all others that have ended by it."""
        deps = self._deps
        provider, account = require_history(deps.source.provider), deps.source.account
        try:
            response = await deps.send(RequestKind.HISTORY, call_provider(provider.history_request, account, offset))
            found = call_provider(provider.read_history, account, response)
        except (ProviderError, UnusableAddress) as error:
            deps.telemetry.job_polled(deps.source.name, None, error.reason, error)
            await deps.throttle.pause_after(RequestKind.HISTORY, error)
            return HistoryPage(list(claims), 0, more=False)
        matched = [claim for claim in claims if claim.job_id in found]
        others = {job_id for job_id, status in found.items() if isinstance(status, Ended)}
        others -= {claim.job_id or "" for claim in matched}
        name, now = deps.source.name, deps.clock.now()
        matched += await deps.database.write(job_leases.claim_named, name, sorted(others), now, deps.lease(now))
        statuses = [(claim, found[claim.job_id or ""]) for claim in matched]
        await asyncio.gather(*(self._apply_status(claim, status, _status_body(status)) for claim, status in statuses))
        left = [claim for claim in claims if claim.job_id not in found]
        ended = sum(isinstance(status, Ended) for _, status in statuses)
        return HistoryPage(left, ended, more=len(found) >= HISTORY_PAGE)

    async def _apply_status(self, claim: JobClaim, status: Status, body: bytes) -> None:
        outcome = "ended" if isinstance(status, Ended) else "running"
        self._deps.telemetry.job_polled(claim.source, claim.job_id, outcome, None)
        if isinstance(status, Ended):
            await self._completion.complete(claim, status.parsed, body, final_state(status.parsed.type), polls=1)
            await self._measure(claim)
        else:
            await self._reschedule(claim, status)
        clock = self._deps.clock
        if clock.monotonic() - self._recorded_at >= RESPONSE_RECORD_SECONDS:  # last: the result matters more
            self._recorded_at = clock.monotonic()
            await self._deps.database.write(throttle_state.record_response, claim.source, clock.now())

    async def _measure(self, claim: JobClaim) -> None:
        """Record how long a submitted job took, where rate limits leave few polls."""
        deps, submitted_at = self._deps, claim.submitted_at
        if submitted_at is None or not deps.throttle.budget.reported:
            return
        running_after = None if claim.polled_at is None else claim.polled_at - submitted_at
        seconds = measured_seconds(max(0.0, deps.clock.now() - submitted_at), running_after)
        await deps.database.write(job_durations.add, claim.source, claim.characters, seconds)

    async def _reschedule(self, claim: JobClaim, status: Running) -> None:
        if self.is_last(claim):
            await self.expire(claim, polls=1)
            return
        deps, now = self._deps, self._deps.clock.now()
        elapsed = now - claim.created_at
        wait = next_wait(deps.source.schedule, claim.polls + 1, elapsed, status.progress, deps.rng.random())

        def write(connection: Connection) -> None:
            polled = replace(claim, polls=claim.polls + 1, polled_at=now)
            planned = deps.planned_wait(deps.throttle.budget.read(connection, now), polled, now)
            at = _next_poll(now, now + max(wait, planned), claim)
            job_leases.reschedule(connection, claim, at, now, progress=status.progress)

        await deps.database.write(write)
        deps.changed(claim.id)

    async def _handle_error(self, claim: JobClaim, error: ProviderError | UnusableAddress) -> None:
        """Store what an error means for the job and for the whole source."""
        deps, now = self._deps, self._deps.clock.now()
        misses = claim.misses + 1 if isinstance(error, UnknownJob) else 0
        if misses >= MAX_MISSES and not self._is_new(claim):
            parsed = failed_event(
                claim.job_id or "", JOB_UNKNOWN, "The provider does not know the job, or no longer does."
            )
            await self._completion.complete(claim, parsed, b"", JobState.EXPIRED, polls=1)
            return
        if self.is_last(claim):
            await deps.throttle.pause_after(RequestKind.STATUS, error)
            await self.expire(claim, polls=1)
            return
        wait = next_wait(deps.source.schedule, claim.polls + 1, 0.0, None, deps.rng.random())

        def write(connection: Connection) -> None:
            pause = deps.throttle.store_pause(connection, RequestKind.STATUS, error, now)
            at = _next_poll(now, max(now + wait, pause or 0.0), claim)
            job_leases.reschedule(connection, claim, at, now, misses=misses, code=error.reason, error=str(error))

        await deps.database.write(write)
        deps.throttle.pause_changed()
        deps.changed(claim.id)


def _next_poll(now: float, at: float, claim: JobClaim) -> float:
    """When to poll next: no later than the deadline, unless that has passed by a clock that is not trusted."""
    return min(at, claim.deadline_at) if claim.deadline_at > now else at


def _status_body(status: Status) -> bytes:
    """A job's entry in the history, to be stored with its event."""
    document = status.document if isinstance(status, Ended) else None
    return b"" if document is None else pydantic_core.to_json(document)
