"""The state of a receiver at one moment, for the person on call: `status` and `GET /v1/status`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from receiver.engine.disks import Disk
from receiver.engine.handler_stats import HandlerStats, read_handler_stats
from receiver.engine.server_clock import max_difference
from receiver.model.rate_plan import RatePlan
from receiver.model.role import Role
from receiver.settings import Settings
from receiver.store import gauges, operations, processes, rollups, throttle_state
from receiver.store.event_pages import Filter
from receiver.store.replicas import FRESH_SECONDS
from receiver.store.rollups import HOUR, MINUTE, Kind, Series, Total
from receiver.store.run_errors import ErrorGroups, error_groups
from receiver.store.states import JobState, RunState

DAY_SECONDS, WEEK_SECONDS = 86_400.0, 7 * 86_400.0
RATE_SECONDS = 3600.0
"""Runs, polls and submits are counted over this time."""
MAX_GROUPS = 5
STORED = ("accepted", "duplicate", "quarantined")
"""The outcomes of a delivery that is answered 202."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """Deliveries of one source that were refused for one reason.

    Attributes:
        last_day: in the last 24 hours.
        last_week: in the last 7 days.
        since_accepted: in the last 24 hours, whether the last one is younger than the last one that was accepted.
        last_at: the minute of the last one in the last 24 hours, unix seconds; None if there is none.
    """

    reason: str
    last_day: int
    last_week: int
    since_accepted: bool
    last_at: float | None


@dataclass(frozen=True, slots=True)
class Failing:
    """Requests to a source that fail, and none has succeeded since.

    Attributes:
        what: "polls" or "submits".
        reason: the most frequent one.
        count: in the last hour.
    """

    what: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Pause:
    """No request is sent to a source until `until`, unix seconds."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """One source.

    Attributes:
        accepted, duplicates: deliveries in the last 24 hours.
        ended_by_polling: jobs whose end a poll reported, in the last 24 hours.
        quarantined: events in quarantine now.
        silent_seconds: since anything was received, while it has open jobs; 0 without.
        max_silent_seconds: how long it may be silent.
        received_at: when anything was last received, a delivery or a response about a job, unix seconds; None: never.
        limits: its rate limits, as its responses report them.
    """

    name: str
    receives_webhooks: bool
    accepted: int
    duplicates: int
    ended_by_polling: int
    refused: Sequence[Refusals]
    quarantined: int
    pause: Pause | None
    failing: Sequence[Failing]
    silent_seconds: float
    max_silent_seconds: float
    received_at: float | None
    open_jobs: int
    unknown_jobs: int
    limits: RatePlan = field(default_factory=RatePlan)

    @property
    def is_silent(self) -> bool:
        """Whether it is silent for longer than it may be."""
        return self.silent_seconds > self.max_silent_seconds


@dataclass(frozen=True, slots=True)
class HandlerStatus:
    """One handler.

    Attributes:
        pending, running, dead: its runs in these states now.
        attempts: those of the last hour.
    """

    name: str
    pending: int
    running: int
    dead: int
    attempts: HandlerStats


@dataclass(frozen=True, slots=True)
class WrongClock:
    """The clock of a process that differs from the database server's by more than it may.

    Attributes:
        name: of the process.
        difference: seconds that it is ahead.
    """

    name: str
    role: Role
    difference: float


@dataclass(frozen=True, slots=True)
class FailedOperation:
    """A change of all that matches that has failed, and is neither resumed nor stopped.

    Attributes:
        kind: as in the audit log.
        changed: events or runs before it failed.
    """

    id: str
    kind: str
    changed: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything at one moment.

    Attributes:
        at: unix seconds.
        receiving: processes that accept deliveries.
        working: processes that start handlers.
        wrong_clocks: those of running processes, the worst first.
        runs: by state.
        oldest_due_seconds: since when the oldest due run is due; None if none is.
        dead: the largest groups of dead runs.
        failed_operations: those accepted in the last 7 days, the newest first.
    """

    at: float
    receiving: int
    working: int
    wrong_clocks: Sequence[WrongClock]
    runs: Mapping[RunState, int]
    oldest_due_seconds: float | None
    dead: ErrorGroups
    sources: Sequence[SourceStatus]
    handlers: Sequence[HandlerStatus]
    disks: Sequence[Disk] = field(default_factory=list)
    failed_operations: Sequence[FailedOperation] = ()


SILENT_SECONDS = 900.0
"""How long a source may be silent, unless its jobs are polled less often."""
MIN_FAILURES = 3
"""Fewer failed requests may have a cause that is over."""
OPERATOR_REASONS = frozenset({"provider_unauthorized", "provider_credits", "blocked_address", "bad_address"})
"""Requests fail for these until an operator acts."""
_SUCCESSES = {Kind.POLLS: ("running", "ended"), Kind.SUBMITS: ("submitted",)}
_OF_ONE_JOB = frozenset(
    {
        "provider_in_progress", "provider_invalid", "provider_key_reused", "provider_rate_limited", "provider_refused",
        "provider_unknown_job",
    }
)  # fmt: skip
"""Reasons that say nothing about the source's other jobs, or need only time."""


def read_status(
    connection: Connection, settings: Settings, polled: Collection[str], living: Collection[str] | None,
    disks: Sequence[Disk], now: float,
) -> Status:  # fmt: skip
    """Read the status; every statement reads an index of few rows, or the rollups of a bounded time.

    Args:
        polled: the sources whose jobs are polled.
        living: the owners of running processes; None to go by their heartbeats.
        now: unix seconds.
    """
    found = gauges.read(connection, polled, now)
    runs = dict.fromkeys((RunState.PENDING, RunState.RUNNING, RunState.DEAD), 0)
    for (_, state), count in found.runs.by_handler.items():
        runs[RunState(state)] += count
    running = _running(connection, living, now)
    roles = [Role(row["role"]) for row in running]
    due_at = found.runs.oldest_due_at
    return Status(
        at=now,
        receiving=sum(role.receives for role in roles),
        working=sum(role.works for role in roles),
        wrong_clocks=_wrong_clocks(running, max_difference(settings.dispatch.lease_seconds)),
        runs=runs,
        oldest_due_seconds=None if due_at is None else max(0.0, now - due_at),
        dead=error_groups(connection, Filter(state=RunState.DEAD), MAX_GROUPS),
        sources=_sources(connection, settings, found, now),
        handlers=_handlers(connection, found.runs.by_handler, now),
        disks=disks,
        failed_operations=[
            FailedOperation(row["id"], row["operation"], row["changed"], row["detail"] or "")
            for row in operations.failed_since(connection, now - WEEK_SECONDS, MAX_GROUPS)
        ],
    )


def _running(connection: Connection, living: Collection[str] | None, now: float) -> list[Mapping[str, Any]]:
    """The rows of the processes that are running, of known roles."""
    known = {str(role) for role in Role}
    return [
        row
        for row in processes.listed(connection)
        if row["role"] in known  # a later release may have others
        if (row["heartbeat_at"] >= now - FRESH_SECONDS if living is None else row["owner"] in living)
    ]


def _wrong_clocks(running: Sequence[Mapping[str, Any]], limit: float) -> list[WrongClock]:
    found = (WrongClock(row["owner"], Role(row["role"]), row["clock_difference"] or 0.0) for row in running)
    return sorted((clock for clock in found if abs(clock.difference) > limit), key=lambda of: -abs(of.difference))


def _sources(
    connection: Connection, settings: Settings, found: gauges.GaugeValues, now: float
) -> list[SourceStatus]:  # fmt: skip
    pauses = throttle_state.pauses(connection, now)
    received = gauges.received_at(connection)
    day = rollups.totals(connection, MINUTE, [Kind.DELIVERIES], now - DAY_SECONDS, now)
    week = rollups.totals(connection, HOUR, [Kind.DELIVERIES], now - WEEK_SECONDS, now)
    polls = rollups.totals(connection, MINUTE, [Kind.POLLS], now - DAY_SECONDS, now)
    requests = rollups.totals(connection, MINUTE, _SUCCESSES, now - RATE_SECONDS, now)

    def counted(totals: Mapping[Series, Total], kind: Kind, name: str, outcome: str) -> int:
        total = totals.get(Series(kind, name, outcome))
        return 0 if total is None else total.count

    statuses = []
    for name, source in settings.sources.items():
        state = pauses.get(name)
        schedule = source.schedule
        statuses.append(
            SourceStatus(
                name=name,
                receives_webhooks=source.receives_webhooks,
                accepted=counted(day, Kind.DELIVERIES, name, "accepted"),
                duplicates=counted(day, Kind.DELIVERIES, name, "duplicate"),
                ended_by_polling=counted(polls, Kind.POLLS, name, "ended"),
                refused=_refusals(name, day, week),
                quarantined=found.quarantined.get(name, 0),
                pause=None if state is None or state.pause_until <= now else Pause(state.pause_until, state.why),
                failing=[failing for kind in _SUCCESSES for failing in _failing(kind, name, requests)],
                silent_seconds=found.silent.get(name, 0.0),
                max_silent_seconds=max(SILENT_SECONDS, 1.5 * schedule.first_seconds, 1.5 * schedule.max_seconds),
                received_at=received.get(name),
                open_jobs=sum(found.jobs.get((name, state), 0) for state in (JobState.SUBMITTING, JobState.WATCHING)),
                unknown_jobs=found.jobs.get((name, JobState.UNKNOWN), 0),
                limits=found.rate_limits.get(name, RatePlan()),
            )
        )
    return statuses


def _refusals(source: str, day: Mapping[Series, Total], week: Mapping[Series, Total]) -> list[Refusals]:
    """The most frequent of the last day first."""
    reasons = {label for _, name, label in (*day, *week) if name == source} - set(STORED)
    stored = [day.get(Series(Kind.DELIVERIES, source, label)) for label in STORED]
    stored_at = max((total.last_at for total in stored if total is not None), default=0.0)
    found = []
    for reason in reasons:
        series = Series(Kind.DELIVERIES, source, reason)
        recent, all_ = day.get(series), week.get(series)
        found.append(
            Refusals(
                reason,
                0 if recent is None else recent.count,
                max(0 if total is None else total.count for total in (recent, all_)),
                recent is not None and recent.last_at > stored_at,
                None if recent is None else recent.last_at,
            )
        )
    return sorted(found, key=lambda refusals: (-refusals.last_day, -refusals.last_week, refusals.reason))


def _failing(kind: Kind, source: str, totals: Mapping[Series, Total]) -> list[Failing]:
    own = {label: total for (of, name, label), total in totals.items() if of is kind and name == source}
    succeeded_at = max((own[word].last_at for word in _SUCCESSES[kind] if word in own), default=0.0)
    failed = {
        reason: total.count
        for reason, total in own.items()
        if reason not in _SUCCESSES[kind] and reason not in _OF_ONE_JOB and total.last_at > succeeded_at
    }
    if not failed or (sum(failed.values()) < MIN_FAILURES and not OPERATOR_REASONS & failed.keys()):
        return []
    main_reason = max(failed, key=lambda reason: (reason in OPERATOR_REASONS, failed[reason], reason))
    return [Failing(str(kind), main_reason, sum(failed.values()))]


def _handlers(connection: Connection, runs: Mapping[tuple[str, str], int], now: float) -> list[HandlerStatus]:
    """Those with runs that have not succeeded, or with attempts in the last hour."""
    stats = {of.name: of for of in read_handler_stats(connection, MINUTE, now - RATE_SECONDS, now)}
    return [
        HandlerStatus(
            name=name,
            pending=runs.get((name, RunState.PENDING), 0),
            running=runs.get((name, RunState.RUNNING), 0),
            dead=runs.get((name, RunState.DEAD), 0),
            attempts=stats.get(name, HandlerStats(name)),
        )
        for name in sorted({*stats, *(handler for handler, _ in runs)})
    ]
