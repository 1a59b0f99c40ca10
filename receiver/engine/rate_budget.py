"""What may be requested of a source by the rate limits that its responses report, for all processes together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog
from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.model.job_durations import JobDurations
from receiver.model.poll_schedule import PollSchedule
from receiver.model.rate_limit import MAX_RESET_SECONDS, RESET, RateLimit, read_rate_limit, read_reset
from receiver.model.rate_plan import RatePlan, RequestKind
from receiver.model.retry_after import sender_time
from receiver.providers.types import Response
from receiver.store import job_durations, rate_buckets
from receiver.store.database import Database

log = structlog.get_logger("receiver.jobs")

CLOCKS_AGREE_SECONDS = 5.0
"""With a larger difference between the clocks, the time to a reset is counted from the response's `Date`."""
LEARNING_SECONDS = 5.0
"""How long a request whose bucket is unknown delays others of its kind: its response names it."""
NOT_LIMITED = -1.0
"""In place of a time: responses to requests of this kind report no limit."""
RESET_MARGIN_SECONDS = 1.0
"""How much later than reported a window is assumed to end: times are whole seconds."""


class Reservations:
    """A source's buckets in one transaction, which may reserve requests if it has locked them.

    Args:
        plan: the buckets.
        now: unix seconds.
        learning: when a request of a kind was reserved whose bucket is unknown, unix seconds; of one process.
        submits_wait: whether submits leave requests to the polls of submitted jobs, whose ends no webhook reports.
    """

    def __init__(
        self,
        connection: Connection,
        source: str,
        plan: RatePlan,
        now: float,
        learning: dict[RequestKind, float],
        *,
        submits_wait: bool,
    ) -> None:
        self._connection = connection
        self._source = source
        self._plan = plan
        self._watched = rate_buckets.watched(connection, source) if plan.buckets else 0
        self._waiting = self._watched if submits_wait else 0
        self._durations: JobDurations | None = None
        self._now = now
        self._learning = learning

    def free(self, kind: RequestKind, limit: int) -> int:
        """How many requests of this kind may be sent now, up to `limit`."""
        if self._is_unknown(kind):
            return min(limit, 1) if self._learned_at(kind) <= self._now else 0
        return self._plan.free(kind, limit, self._now, self._waiting)

    def free_at(self, kind: RequestKind) -> float:
        """When a request of this kind may be sent, unix seconds."""
        if self._is_unknown(kind):
            return max(self._now, self._learned_at(kind))
        return self._plan.free_at(kind, self._now, self._waiting)

    def take(self, kind: RequestKind, count: int) -> None:
        """Reserve so many requests of this kind."""
        if count and self._is_unknown(kind):
            self._learning[kind] = self._now
        before, self._plan = self._plan, self._plan.after(kind, count, self._now)
        rate_buckets.store(self._connection, self._source, before, self._plan, self._now)

    def poll_wait(
        self, schedule: PollSchedule, *, polls: int, age: float, idle: float, characters: int | None, new: int = 0
    ) -> float:
        """As `RatePlan.poll_wait`.

        Args:
            characters: of the job's text; None if unknown.
            new: 1 if the job is not among the watched ones yet.
        """
        if not self._plan.buckets:
            return 0.0
        if self._durations is None:
            self._durations = job_durations.get(self._connection, self._source)
        return self._plan.poll_wait(
            schedule,
            self._now,
            polls=polls,
            age=age,
            idle=idle,
            watched=self._watched + new,
            expected=self._durations.expected(characters),
        )

    def _is_unknown(self, kind: RequestKind) -> bool:
        """Whether the source has buckets, and no response has said yet to which this kind belongs."""
        known = not self._plan.buckets or self._plan.bucket(kind) is not None
        return not known and self._learning.get(kind) != NOT_LIMITED

    def _learned_at(self, kind: RequestKind) -> float:
        at = self._learning.get(kind, 0.0)
        return at + LEARNING_SECONDS if at <= self._now else 0.0  # the clock was set back


class _Reported(NamedTuple):
    """What a response reported at `now`, and the kind of its request, if its bucket is new."""

    limit: RateLimit
    now: float
    kind: RequestKind | None


class RateBudget:
    """The rate limits of one source, in one process. All processes share them in the store.

    Args:
        source: its name.
    """

    def __init__(self, database: Database, source: str, clock: Clock) -> None:
        self._database = database
        self._source = source
        self._clock = clock
        self._learned: dict[RequestKind, str] = {}
        self._learning: dict[RequestKind, float] = {}
        self._unreadable = False

    @property
    def reported(self) -> bool:
        """Whether this process has received a response with a rate limit."""
        return bool(self._learned)

    def lock(self, connection: Connection, now: float, *, submits_wait: bool) -> Reservations:
        """The buckets, to reserve requests in this transaction.

        Args:
            now: unix seconds.
            submits_wait: as for `Reservations`.
        """
        plan = rate_buckets.lock(connection, self._source)
        return Reservations(connection, self._source, plan, now, self._learning, submits_wait=submits_wait)

    def read(self, connection: Connection, now: float, *, submits_wait: bool = False) -> Reservations:
        """As `lock`, to read only."""
        plan = rate_buckets.get(connection, self._source)
        return Reservations(connection, self._source, plan, now, self._learning, submits_wait=submits_wait)

    def record(self, kind: RequestKind, response: Response, used_up: Callable[[], None]) -> asyncio.Future[None] | None:
        """Store what a response reports of its bucket, if it does: before all that the caller writes after this.

        Nobody has to wait for it: what becomes of the request is stored whether this succeeds or not.

        Args:
            kind: of its request.
            used_up: called after the commit if nothing is left, which pauses the bucket.
        """
        now = self._clock.now()
        limit = self._read(response, now)
        if limit is None:
            self._learning[kind] = NOT_LIMITED
            return None
        new = self._learned.get(kind) != (limit.bucket or "")
        write = self._database.batch(self._record, _Reported(limit, now, kind if new else None))

        def written(done: asyncio.Future[None]) -> None:
            if done.cancelled():
                return
            if (error := done.exception()) is not None:
                log.warning("provider.rate_limit_not_stored", source=self._source, detail=str(error))
                return
            self._learned[kind] = limit.bucket or ""
            if limit.remaining == 0:
                used_up()

        write.add_done_callback(written)
        return write

    def _record(self, connection: Connection, items: list[_Reported]) -> list[None]:
        # Rows are locked in one order by all processes; those of one bucket are in the order of their responses.
        for limit, now, kind in sorted(items, key=lambda item: item.limit.bucket or ""):
            rate_buckets.record(connection, self._source, limit, now)
            if kind is not None:
                rate_buckets.assign(connection, self._source, kind, limit.bucket or "")
        return [None] * len(items)

    def _read(self, response: Response, now: float) -> RateLimit | None:
        """The rate limit of a response, with the reset by our clock."""
        theirs = sender_time(response.header("date"), now, CLOCKS_AGREE_SECONDS)
        limit = read_rate_limit(response.header, theirs)
        value = response.header(RESET)
        if value is not None and read_reset(value, theirs) is None and not self._unreadable:
            self._unreadable = True
            log.warning("provider.reset_ignored", source=self._source, value=value[:100], max_seconds=MAX_RESET_SECONDS)
        if limit is None or limit.reset_at is None:
            return limit
        return limit._replace(reset_at=now + limit.reset_at - theirs + RESET_MARGIN_SECONDS)
