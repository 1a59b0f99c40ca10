"""The buckets of sources' rate limits, and which requests belong to which. All processes share them.

A service's count of a window only falls. A response may arrive after a later one, and does not count the requests that
other processes have reserved since: within a window the smaller number counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Select, and_, case, delete, func, select, update

from receiver.model.rate_limit import RateLimit
from receiver.model.rate_plan import Bucket, RatePlan, RequestKind
from receiver.store.dialect import DIALECTS
from receiver.store.schema import jobs, rate_buckets, rate_endpoints
from receiver.store.states import JobState

SAME_WINDOW_SECONDS = 2.0
"""Ends of one window that two responses report differ by less than this."""
MAX_BUCKETS = 16
"""Buckets of one source; further ones replace the one that was reported first."""
MAX_WATCHED = 1000
"""Watched jobs that are counted."""
LIMIT_USED_UP = "rate_limit_used_up"
"""Why a bucket is paused of which nothing is left."""

_ROWS = select(
    rate_buckets.c.source,
    rate_buckets.c.bucket,
    rate_buckets.c.request_limit,
    rate_buckets.c.remaining,
    rate_buckets.c.reset_at,
    rate_buckets.c.pause_until,
    rate_buckets.c.reason,
    rate_endpoints.c.kind,
).select_from(
    rate_buckets.outerjoin(
        rate_endpoints,
        and_(rate_endpoints.c.source == rate_buckets.c.source, rate_endpoints.c.bucket == rate_buckets.c.bucket),
    )
)


def get(connection: Connection, source: str) -> RatePlan:
    """The source's buckets."""
    return _plan(connection.execute(_of(source)))


def lock(connection: Connection, source: str) -> RatePlan:
    """As `get`; no other transaction changes them until the end of this one."""
    return _plan(connection.execute(_of(source).with_for_update(of=rate_buckets)))


def get_all(connection: Connection) -> dict[str, RatePlan]:
    """The buckets of every source that has some."""
    found: dict[str, list[Any]] = {}
    for row in connection.execute(_ROWS.order_by(rate_buckets.c.source, rate_buckets.c.bucket)):
        found.setdefault(row.source, []).append(row)
    return {source: _plan(rows) for source, rows in found.items()}


def watched(connection: Connection, source: str) -> int:
    """How many of the source's jobs are watched, up to `MAX_WATCHED`."""
    rows = select(jobs.c.id).where(jobs.c.source == source, jobs.c.state == str(JobState.WATCHING))
    return int(connection.execute(select(func.count()).select_from(rows.limit(MAX_WATCHED).subquery())).scalar_one())


def store(connection: Connection, source: str, before: RatePlan, after: RatePlan, now: float) -> None:
    """Store what was reserved of locked buckets.

    Args:
        before: as `lock` returned it.
        after: with reservations.
        now: unix seconds.
    """
    c = rate_buckets.c
    for name, bucket in after.buckets.items():
        if bucket != before.buckets[name]:
            values = {
                "remaining": bucket.remaining, "reset_at": bucket.reset_at, "reset_seconds": bucket.reset_at - now
            }  # fmt: skip
            connection.execute(update(rate_buckets).where(c.source == source, c.bucket == name).values(values))


def refund(connection: Connection, source: str, kind: RequestKind, count: int, now: float) -> None:
    """Return requests that were reserved and not sent, if their window has not ended."""
    c, e = rate_buckets.c, rate_endpoints.c
    learned = select(e.bucket).where(e.source == source, e.kind == str(kind)).scalar_subquery()
    theirs = c.bucket == func.coalesce(learned, "")
    left = case((c.remaining + count > c.request_limit, c.request_limit), else_=c.remaining + count)
    connection.execute(
        update(rate_buckets).where(c.source == source, theirs, c.reset_at > now).values(remaining=left)
    )  # fmt: skip


def record(connection: Connection, source: str, limit: RateLimit, now: float) -> None:
    """Record what a response reports of its bucket.

    Args:
        limit: `reset_at` by our clock.
        now: unix seconds.
    """
    c, name = rate_buckets.c, limit.bucket or ""
    values: dict[str, Any] = {"updated_at": now}
    if limit.limit is not None:
        values["request_limit"] = limit.limit
    if limit.remaining is not None:
        values["remaining"] = limit.remaining
    if limit.reset_at is not None:
        values |= {"reset_at": limit.reset_at, "reset_seconds": limit.reset_at - now}
    used_up = limit.remaining == 0 and limit.reset_at is not None and limit.reset_at > now
    if used_up:
        values |= {"pause_until": limit.reset_at, "pause_seconds": values["reset_seconds"], "reason": LIMIT_USED_UP}
    insert = DIALECTS[connection.dialect.name].insert(rate_buckets).values(source=source, bucket=name, **values)
    changes = dict(values)
    if limit.remaining is not None and limit.reset_at is not None:
        new_window = insert.excluded.reset_at > c.reset_at + SAME_WINDOW_SECONDS
        less = case((insert.excluded.remaining < c.remaining, insert.excluded.remaining), else_=c.remaining)
        changes["remaining"] = case((new_window | c.remaining.is_(None), insert.excluded.remaining), else_=less)
    if not used_up:
        changes["pause_until"] = case((c.reason == LIMIT_USED_UP, 0.0), else_=c.pause_until)
    if limit.reset_at is not None and limit.reset_at <= now:  # of a window that has ended: a later one is known
        later = c.reset_at > now
        kept = [name for name in ("remaining", "reset_at", "reset_seconds", "pause_until") if name in changes]
        changes |= {name: case((later, c[name]), else_=changes[name]) for name in kept}
    connection.execute(insert.on_conflict_do_update(index_elements=["source", "bucket"], set_=changes))


def assign(connection: Connection, source: str, kind: RequestKind, bucket: str) -> None:
    """Record to which bucket requests of this kind belong; forget the oldest of too many buckets."""
    c, moved = rate_buckets.c, {"bucket": bucket}
    insert = DIALECTS[connection.dialect.name].insert(rate_endpoints).values(source=source, kind=str(kind), **moved)
    connection.execute(insert.on_conflict_do_update(index_elements=["source", "kind"], set_=moved))
    rows = connection.execute(select(c.updated_at, c.bucket).where(c.source == source)).all()
    surplus = [name for _, name in sorted(map(tuple, rows), reverse=True)[MAX_BUCKETS:]]
    if surplus:
        connection.execute(delete(rate_buckets).where(c.source == source, c.bucket.in_(surplus)))


def pause(connection: Connection, source: str, bucket: str, until: float, reason: str, now: float) -> None:
    """Pause the requests of one bucket until `until`, unix seconds as `now`; a longer pause stays."""
    c = rate_buckets.c
    shorter = [c.source == source, c.bucket == bucket, c.pause_until < until]
    values = {"pause_until": until, "pause_seconds": until - now, "reason": reason}
    connection.execute(update(rate_buckets).where(*shorter).values(values))


def forget(connection: Connection, source: str) -> None:
    """Forget what was reported of the source's buckets, and their pauses; which requests belong to which stays."""
    values = {"remaining": None, "reset_at": 0.0, "reset_seconds": 0.0, "pause_until": 0.0, "reason": ""}
    connection.execute(update(rate_buckets).where(rate_buckets.c.source == source).values(values))


def _of(source: str) -> Select[Any]:
    return _ROWS.where(rate_buckets.c.source == source).order_by(rate_buckets.c.bucket)


def _plan(rows: Iterable[Any]) -> RatePlan:
    buckets: dict[str, Bucket] = {}
    kinds: dict[str, str] = {}
    for row in rows:
        buckets[row.bucket] = Bucket(
            row.bucket, row.request_limit, row.remaining, row.reset_at, row.pause_until, row.reason
        )  # fmt: skip
        if row.kind is not None:
            kinds[row.kind] = row.bucket
    return RatePlan(buckets, kinds)
