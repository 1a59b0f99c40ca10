"""Claims of runs: which process may execute which run until when, and which runs have started.

A claim increments the attempt number, which is the fencing token. Some runs are prefetched, that is claimed before a
slot is free: they have a lease and no `started_at`. A handler starts only after the commit that sets `started_at`. A
run without it has done nothing yet: the end of its claim costs no attempt, and a crash does not make it a suspect
(docs/adr/0057).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection, select

from receiver.model.slots import FreeSlots
from receiver.store.dialect import DIALECTS, MAX_ROWS
from receiver.store.leases import IS_RUNNING, Lease
from receiver.store.schema import runs

HELD_SECONDS = 0.05
"""How soon a claim is tried again while another transaction claims runs of a handler with a bound of all processes."""

RunKey = tuple[str, str, int]
"""Event id, handler, attempt: identifies one attempt."""

_EVENT = ("id", "source", "type", "job_id", "origin", "received_at", "payload", "raw", "edited_from")
"""The parameters of `model.event.build_event`."""


class Claim(NamedTuple):
    """A run that a process holds until its lease expires. A tuple, because each run creates several.

    Attributes:
        attempt: the fencing token.
        counted: the number of this attempt among those that count, from 1.
        started: unix seconds; 0 before its handler may start.
        event: the event's row as keyword arguments of `model.event.build_event`; may be empty before the run starts.
        crashes: consecutive crashes, before this attempt, in which the run was running.
    """

    event_id: str
    handler: str
    attempt: int
    counted: int
    due_at: float
    started: float
    event: Mapping[str, Any]
    crashes: int = 0

    @property
    def key(self) -> RunKey:
        """Identifies the attempt."""
        return self.event_id, self.handler, self.attempt


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What to claim and to start.

    Attributes:
        free: the slots in which runs may start.
        now: unix seconds.
        prefetched: by handler, the claims that have not started, in the order in which they start.
        wanted: by handler, how many claims to have prefetched; 0 for a handler that is not in it.
    """

    free: FreeSlots
    lease: Lease
    now: float
    prefetched: Mapping[str, Sequence[Claim]] = field(default_factory=dict)
    wanted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claimed:
    """The outcome of a claim.

    Attributes:
        started: the claims to execute now, with their events.
        prefetched: by handler, the claims that have not started, in the order in which they start.
        lost: claims that were prefetched and are lost: the run was cancelled, or claimed by another process.
        due_at: when the next run is due that could start at once, unix seconds; None if there is none.
        new: what this claimed, to start now, or prefetched; not started yet.
    """

    started: list[Claim]
    prefetched: dict[str, list[Claim]]
    lost: list[Claim]
    due_at: float | None
    new: list[Claim]


def claim(connection: Connection, request: ClaimRequest) -> Claimed:
    """Start as many due runs as there are slots, first those that are claimed already; then prefetch more.

    Of each handler, the runs that have been due longest are claimed first. Of all suspects, one is claimed, if none
    is running.
    """
    left = request.free.copy()  # a shared transaction that fails is repeated with the same request
    later = _restrict(connection, left, request.now) if left.cluster else []
    starting = _claim_suspect(connection, left.startable(), request)
    new = list(starting)
    for suspect in starting:
        left.take(suspect.handler, 1)
    pools = {handler: deque(request.prefetched.get(handler, ())) for handler in {*left.handlers, *request.prefetched}}
    exhausted: set[str] = set()

    def fill(handler: str, size: int) -> None:
        pool, wanted = pools[handler], request.wanted.get(handler, 0)
        missing = size + wanted - len(pool)
        if missing > 0 and handler not in exhausted:
            found = _claim_due(connection, request, handler, missing, started=request.now if wanted == 0 else None)
            pool.extend(found)
            new.extend(found)
            if len(found) < missing:
                exhausted.add(handler)

    for handler, available in left.offers():
        pool = pools[handler]
        if len(pool) < available:
            fill(handler, available)
        taken = [pool.popleft() for _ in range(min(available, len(pool)))]
        left.take(handler, len(taken))
        starting += taken
    for handler, wanted in request.wanted.items():
        if len(pools[handler]) < wanted / 2:
            fill(handler, 0)
    started, lost = _start(connection, starting, request)
    return Claimed(
        started,
        {handler: list(pool) for handler, pool in pools.items() if pool},
        lost,
        _earliest(
            later, next_due(connection, [handler for handler in left.startable() if not pools[handler]], request.now)
        ),
        new,
    )


def _restrict(connection: Connection, left: FreeSlots, now: float) -> list[float]:
    """Restrict the handlers whose bound holds for all processes to what the runs of all leave of it.

    Nothing of such a handler starts unless its runs were counted: otherwise two processes could start the last one.

    Returns:
        When to claim again, unix seconds, for handlers that may start nothing now.
    """
    statements = DIALECTS[connection.dialect.name].claims
    later = []
    for handler, bound in sorted(left.cluster.items()):
        if not left.available(handler):
            continue
        due_at = next_due(connection, [handler], now)
        startable = 0
        if due_at is not None and due_at <= now:
            started = statements.count_started(connection, handler)
            if started is None:
                later.append(now + HELD_SECONDS)
            else:
                startable = max(0, bound - started)
        elif due_at is not None:
            later.append(due_at)
        left.restrict(handler, startable)
    return later


def _earliest(later: Sequence[float], due_at: float | None) -> float | None:
    return min([*later, *(() if due_at is None else (due_at,))], default=None)


def _claim_due(
    connection: Connection, request: ClaimRequest, handler: str, limit: int, *, started: float | None
) -> list[Claim]:
    statements = DIALECTS[connection.dialect.name].claims
    rows = statements.claim_due(connection, handler, limit, request.now, *request.lease, started)
    return sorted(_claimed(rows, started or 0.0), key=lambda found: found.due_at)


def _claim_suspect(connection: Connection, handlers: Sequence[str], request: ClaimRequest) -> list[Claim]:
    """Of all suspects in the store, one runs at a time."""
    if not handlers:
        return []
    statements = DIALECTS[connection.dialect.name].claims
    return _claimed(statements.claim_suspect(connection, handlers, request.now, *request.lease), request.now)


def _claimed(rows: Iterable[Any], started: float) -> list[Claim]:
    return [
        Claim(event_id, handler, attempt, attempt - forgiven, due_at, started, _event(facts) if facts else {}, crashes)
        for event_id, handler, attempt, forgiven, due_at, crashes, *facts in rows
    ]


def _start(connection: Connection, starting: list[Claim], request: ClaimRequest) -> tuple[list[Claim], list[Claim]]:
    """Mark the claims as started: those that are still held, with their events, and those that were lost."""
    if not starting:
        return [], []
    marking = {found.key for found in starting if not found.started}
    start = DIALECTS[connection.dialect.name].claims.start_held
    still_held = _change_held(connection, start, marking, request.lease.owner, request.now)
    lost = [found for found in starting if found.key in marking and found.key not in still_held]
    if lost:
        starting = [found for found in starting if found.key not in marking or found.key in still_held]
    missing = {found.event_id for found in starting if not found.event}
    facts = _event_facts(connection, missing) if missing else {}
    return [
        found if found.event and found.started == request.now else Claim(
            found.event_id, found.handler, found.attempt, found.counted, found.due_at, request.now,
            found.event or facts[found.event_id], found.crashes,
        )
        for found in starting
    ], lost  # fmt: skip


def _event_facts(connection: Connection, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    rows = DIALECTS[connection.dialect.name].claims.event_facts(connection, ids)
    return {row[0]: _event(row) for row in rows}


def _event(row: Sequence[Any]) -> dict[str, Any]:
    event = dict(zip(_EVENT, row, strict=True))
    event["payload"] = _parsed(event["payload"])
    return event


def _parsed(payload: str) -> Any:
    """Of three parsers the fastest, except for what it refuses: an unpaired surrogate of an earlier release, depth."""
    try:
        return from_json(payload)
    except ValueError:
        return json.loads(payload)


def release(connection: Connection, claims: Collection[Claim], owner: str) -> None:
    """End claims that have not started: their runs are due again as before. Claims that were lost are ignored."""
    statements = DIALECTS[connection.dialect.name].claims
    _change_held(connection, statements.release_held, [found.key for found in claims], owner)


def release_unknown(connection: Connection, known: Collection[RunKey], owner: str) -> int:
    """Release the runs that this owner claimed without learning it: the answer to the commit was lost. They have not
    started. Returns how many."""
    columns = (runs.c.event_id, runs.c.handler, runs.c.attempt)
    held = connection.execute(select(*columns).where(IS_RUNNING, runs.c.lease_owner == owner))
    unknown = [key for key in map(tuple, held) if key not in known]
    return len(_change_held(connection, DIALECTS[connection.dialect.name].claims.release_held, unknown, owner))


def extend(connection: Connection, held: Collection[RunKey], owner: str, lease_until: float) -> list[RunKey]:
    """Extend leases.

    Returns:
        The runs that were lost: cancelled, or claimed by another process after the lease expired.
    """
    still_held = _change_held(
        connection, DIALECTS[connection.dialect.name].claims.extend_held, held, owner, lease_until
    )
    return [key for key in held if key not in still_held]


def _change_held(
    connection: Connection,
    change: Callable[..., list[Any]],
    keys: Collection[RunKey],
    owner: str,
    *value: float,
) -> set[RunKey]:
    """Change the runs that are still held by this attempt and owner; return their keys."""
    still_held: set[RunKey] = set()
    left = list(keys)
    while left:
        part, left = left[:MAX_ROWS], left[MAX_ROWS:]
        still_held.update(change(connection, part, owner, *value))
    return still_held


def has_expired(connection: Connection, now: float) -> bool:
    """Whether any lease has expired."""
    return DIALECTS[connection.dialect.name].claims.has_expired(connection, now)


def release_expired(connection: Connection, now: float) -> int:
    """Make the runs due again whose lease expired before they started; return how many."""
    return DIALECTS[connection.dialect.name].claims.release_expired(connection, now)


def expired(connection: Connection, now: float) -> list[tuple[Claim, str]]:
    """Runs that started and whose lease expired without a result, each with the owner of the lease.

    The owner's process died, or could not write to the store for longer than a lease.
    """
    return [
        (Claim(event_id, handler, attempt, attempt - forgiven, due_at, started, {}, crashes), owner)
        for event_id, handler, attempt, forgiven, due_at, crashes, started, owner in DIALECTS[
            connection.dialect.name
        ].claims.expired(connection, now)
    ]


def next_due(connection: Connection, handlers: Sequence[str], now: float) -> float | None:
    """When the next pending run of these handlers is due, or is to be looked for again, unix seconds; None if none is
    pending."""
    if not handlers:
        return None
    statements = DIALECTS[connection.dialect.name].claims
    earliest = [statements.next_suspect_due(connection, handlers)]
    earliest += [statements.next_due(connection, handler, now) for handler in handlers]
    return min((at for at in earliest if at is not None), default=None)
