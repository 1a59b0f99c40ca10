"""Claims one source's due jobs and reserves their requests, in one transaction, as far as its limits allow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Connection

from receiver.engine.jobs.claim_batch import ClaimBatch
from receiver.engine.jobs.source import JobContext
from receiver.engine.rate_budget import Reservations
from receiver.engine.throttle import AHEAD_SECONDS
from receiver.model.rate_plan import RequestKind
from receiver.providers.protocols import HistoryProvider
from receiver.providers.types import HISTORY_PAGE
from receiver.store import job_leases, throttle_state, usage
from receiver.store.job_leases import JobClaim
from receiver.store.states import JobState

MIN_JOBS_FOR_HISTORY = 5
"""With at least so many due jobs the provider's history is requested instead of each job."""

POSTPONE_SECONDS = 1.0
"""A job is polled now if its time is nearer than this."""


class JobClaimer:
    """Claims jobs of one source.

    Args:
        needs_request: whether a claimed job is requested of the provider at a time, unix seconds.
        not_in_history: our ids of jobs that are polled one by one.
    """

    def __init__(
        self, deps: JobContext, needs_request: Callable[[JobClaim, float], bool], not_in_history: Collection[str]
    ) -> None:
        self._deps = deps
        self._name = deps.source.name
        self._throttle = deps.throttle
        self._needs_request = needs_request
        self._not_in_history = not_in_history
        self._has_history = isinstance(deps.source.provider, HistoryProvider)  # checked once: it looks up every method
        self._polls_first = False
        """Whether submits got all of the last requests: polls that are due are next, or a queue of submits would hold
        the ends of all jobs back."""

    def claim_due(self, connection: Connection, capacity: int, states: Collection[JobState], now: float) -> ClaimBatch:
        """Count what jobs were charged, claim due jobs and reserve their requests.

        Args:
            capacity: how many at most.
            states: of the jobs; those that are submitted come first, and every second time those that are polled.
            now: unix seconds.
        """
        usage.reconcile(connection, self._name)
        state = throttle_state.get(connection, self._name)
        slots = min(capacity, self._throttle.free_slots(state, now))
        if state.pause_until > now or slots == 0:
            return ClaimBatch([], [], now)
        reservations = self._deps.lock_limits(connection, now)
        polls: list[JobClaim] = []
        history: list[JobClaim] = []
        may_poll, polls_first = JobState.WATCHING in states, self._polls_first
        if may_poll and polls_first:
            polls, history = self._claim_polls(connection, reservations, (slots + 1) // 2, now)
            slots -= len(polls) + bool(history)
        submits = self._claim(connection, JobState.SUBMITTING, reservations.free(RequestKind.SUBMIT, slots), now)
        reservations.take(RequestKind.SUBMIT, sum(self._needs_request(claim, now) for claim in submits))
        slots -= len(submits)
        if may_poll:
            self._polls_first = slots == 0 and not polls_first
            if slots and not polls_first:
                polls, history = self._claim_polls(connection, reservations, slots, now)
        times = self._reserve_times(connection, submits + polls, now)
        return ClaimBatch(times, history, self._throttle.reserve(connection, 1, now)[0] if history else now)

    def claim_for_page(self, connection: Connection, capacity: int, now: float) -> ClaimBatch | None:
        """Reserve the next page of the history; a due submit goes first, because there may be many pages.

        Args:
            capacity: how many submits at most.

        Returns:
            None if the rate limit allows no further page.
        """
        reservations = self._deps.lock_limits(connection, now)
        if not reservations.free(RequestKind.HISTORY, 1):
            return None
        reservations.take(RequestKind.HISTORY, 1)
        claims = self._claim(connection, JobState.SUBMITTING, reservations.free(RequestKind.SUBMIT, capacity), now)
        reservations.take(RequestKind.SUBMIT, sum(self._needs_request(claim, now) for claim in claims))
        times = self._reserve_times(connection, claims, now)
        return ClaimBatch(times, [], self._throttle.reserve(connection, 1, now)[0])

    def next_due_at(self, connection: Connection, states: Sequence[JobState], now: float) -> float | None:
        """When the next job in these states may be claimed, unix seconds; None if none is open."""
        state = throttle_state.get(connection, self._name)
        times = []
        submits_wait = not self._deps.source.receives_webhooks
        budget = self._throttle.budget.read(connection, now, submits_wait=submits_wait)
        for job_state in states:
            due = job_leases.next_due(connection, self._name, [job_state])
            if due is not None:
                kinds = [RequestKind.SUBMIT] if job_state is JobState.SUBMITTING else self._poll_kinds
                times.append(max(due, min(budget.free_at(kind) for kind in kinds)))
        if not times:
            return None
        return max(min(times), state.pause_until, state.next_request_at - AHEAD_SECONDS / 2)

    @property
    def _poll_kinds(self) -> Sequence[RequestKind]:
        return [RequestKind.STATUS, RequestKind.HISTORY] if self._has_history else [RequestKind.STATUS]

    def _claim_polls(
        self, connection: Connection, reservations: Reservations, slots: int, now: float
    ) -> tuple[list[JobClaim], list[JobClaim]]:
        """Claim jobs to poll one by one, and jobs to look up in the history."""
        single_free = reservations.free(RequestKind.STATUS, slots)
        history_free = reservations.free(RequestKind.HISTORY, 1) if self._has_history else 0
        if not single_free and not history_free:
            return [], []
        watched = self._claim(connection, JobState.WATCHING, HISTORY_PAGE if history_free else single_free, now)
        history = [claim for claim in watched if history_free and claim.id not in self._not_in_history]
        if len(history) < (MIN_JOBS_FOR_HISTORY if single_free else 1):
            history = []
        if history:
            reservations.take(RequestKind.HISTORY, 1)
        in_history = {claim.id for claim in history}
        single = self._postpone(
            connection, reservations, [claim for claim in watched if claim.id not in in_history], now
        )
        capacity = reservations.free(RequestKind.STATUS, slots - bool(history))
        free_at = now if capacity else reservations.free_at(RequestKind.STATUS)
        for claim in single[capacity:]:  # their leases would expire before their scheduled times
            job_leases.release(connection, claim, max(now, min(free_at, claim.deadline_at)), now)
        single = single[:capacity]
        reservations.take(RequestKind.STATUS, len(single))
        return single, history

    def _postpone(
        self, connection: Connection, reservations: Reservations, claims: Sequence[JobClaim], now: float
    ) -> list[JobClaim]:
        """Release jobs that are to be polled later, because others share the requests since their time was planned.

        Returns:
            The others.
        """
        due = []
        for claim in claims:
            at_once = now >= claim.deadline_at or (claim.polls == 0 and claim.submitted_at is None)
            wait = 0.0 if at_once else self._deps.planned_wait(reservations, claim, now)
            if wait > POSTPONE_SECONDS:
                job_leases.release(connection, claim, min(now + wait, claim.deadline_at), now)
            else:
                due.append(claim)
        return due

    def _claim(self, connection: Connection, state: JobState, limit: int, now: float) -> list[JobClaim]:
        return job_leases.claim(connection, self._name, limit, now, self._deps.lease(now), [state])

    def _reserve_times(
        self, connection: Connection, claims: Sequence[JobClaim], now: float
    ) -> list[tuple[JobClaim, float]]:
        """Each claim with the time of its request; one without a request gets `now`."""
        requesting = [claim for claim in claims if self._needs_request(claim, now)]
        times = iter(self._throttle.reserve(connection, len(requesting), now))
        return [(claim, next(times) if self._needs_request(claim, now) else now) for claim in claims]
