"""The ledger: what the jobs of each source used in each day (UTC). It stays when the jobs are deleted.

What the ledger counts of a job is written in the job's row (`counted`), in the transaction that counts it. So whatever
becomes of the job, and however often it is reported, the difference is added once. A job counts on the day on which it
was created.

What changes a job marks it (`usage_pending`) and leaves the ledger alone, so that deliveries do not wait for its row;
the loop of the source reconciles marked jobs soon after. With a budget, a job's characters are counted in the
transaction that stores it.

Rows of the ledger are locked before rows of jobs, and locked jobs are skipped: two transactions never wait for each
other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from receiver.model.budget import Budget, BudgetExceeded, Usage, day_of, refusal
from receiver.model.charge import add_credits, credits_text
from receiver.store.dialect import DIALECTS
from receiver.store.schema import jobs, usage
from receiver.store.states import JobState

MAX_RECONCILED = 100
"""Jobs that one transaction reconciles, at the most."""
MAX_PENDING = 1000
"""Marked jobs that a reader adds, at the most: more than there are while a receiver runs."""

_Day = tuple[str, str]
"""A day and a source: the key of a row."""
_COLUMNS = (
    jobs.c.id, jobs.c.source, jobs.c.state, jobs.c.created_at, jobs.c.job_id, jobs.c.submits, jobs.c.characters,
    jobs.c.chars_charged, jobs.c.credits_used, jobs.c.counted,
)  # fmt: skip
_IS_PENDING = jobs.c.usage_pending.is_not(None)


class UsageRow(NamedTuple):
    """What a source's jobs of one day (UTC) have used."""

    day: str
    source: str
    used: Usage


def usage_of(job: Mapping[str, Any]) -> Usage:
    """What a job has used, as far as it is known: the text's length until the provider reports a charge.

    Nothing, if the provider has certainly not accepted it. An `unknown` job may have been charged for.
    """
    refused = job["state"] == JobState.FAILED and job["submits"] <= 1  # an earlier request may have been accepted
    if job["job_id"] is None and (refused or job["state"] == JobState.CANCELLED):
        return Usage()
    charged = job["chars_charged"]
    credits = Decimal(job["credits_used"] or 0)
    if charged is not None:
        return Usage(1, charged, 0, credits)
    characters = job["characters"] or 0
    return Usage(1, characters, characters, credits)


class Reservation(NamedTuple):
    """The place in a day's budget for a job that is about to be stored.

    Attributes:
        used: what the source's jobs of the day have used, with this one.
        counted: the job's column.
        refused: why there is no place; None if there is.
    """

    day: str
    source: str
    used: Usage
    counted: dict[str, Any]
    refused: BudgetExceeded | None

    def write(self, connection: Connection) -> None:
        """Count the job, which the same transaction has stored.

        Raises:
            BudgetExceeded: the transaction must not be committed.
        """
        if self.refused is not None:
            raise self.refused
        write(connection, self.day, self.source, self.used)


def reserve(connection: Connection, source: str, budget: Budget, characters: int, now: float) -> Reservation:
    """Look for a place in the budget of the day; nobody else does until the transaction ends."""
    while reconcile(connection, source) == MAX_RECONCILED:
        pass
    day, job = day_of(now), Usage(1, characters, characters)
    used = lock_day(connection, day, source)
    refused = refusal(budget, used, source, characters, now)
    return Reservation(day, source, changed(used, Usage(), job), _document(job), refused)


def lock_day(connection: Connection, day: str, source: str) -> Usage:
    """What the source's jobs of this day have used; nobody else changes it until the transaction ends."""
    statement = DIALECTS[connection.dialect.name].insert(usage).values(day=day, source=source)
    connection.execute(statement.on_conflict_do_nothing())
    found = select(usage.c.jobs, usage.c.characters, usage.c.reserved, usage.c.credits)
    row = connection.execute(found.where(usage.c.day == day, usage.c.source == source).with_for_update()).one()
    return Usage(row.jobs, row.characters, row.reserved, Decimal(row.credits))


def write(connection: Connection, day: str, source: str, used: Usage) -> None:
    """Write what `lock_day` has returned, changed."""
    values = used._asdict() | {"credits": credits_text(used.credits)}
    connection.execute(update(usage).where(usage.c.day == day, usage.c.source == source).values(values))


def reconcile(connection: Connection, source: str) -> int:
    """Count what the source's marked jobs have used by now; return how many were reconciled."""
    marked = select(jobs.c.id, jobs.c.created_at, jobs.c.source)
    marked = marked.where(jobs.c.source == source, _IS_PENDING).order_by(jobs.c.id).limit(MAX_RECONCILED)
    return _reconcile(connection, connection.execute(marked).all())


def reconcile_jobs(connection: Connection, ids: Collection[str]) -> int:
    """`reconcile` those of these jobs that are marked, of any source."""
    c = jobs.c
    marked = select(c.id, c.created_at, c.source).where(c.id.in_(ids), _IS_PENDING)
    return _reconcile(connection, connection.execute(marked).all())


def _reconcile(connection: Connection, marked: Sequence[Any]) -> int:
    if not marked:
        return 0
    held = {key: lock_day(connection, *key) for key in sorted({(day_of(row.created_at), row.source) for row in marked})}
    ids = [row.id for row in marked]
    still = select(*_COLUMNS).where(jobs.c.id.in_(ids), _IS_PENDING)
    rows = [dict(row._mapping) for row in connection.execute(still.with_for_update(skip_locked=True))]
    if not rows:
        return 0
    for row in rows:
        key = day_of(row["created_at"]), row["source"]
        held[key] = changed(held[key], counted_of(row), usage_of(row))
    values = [{"job": row["id"], "now": _document(usage_of(row))} for row in rows]
    reconciled = update(jobs).where(jobs.c.id == bindparam("job")).values(counted=bindparam("now"), usage_pending=None)
    connection.execute(reconciled, values)
    for (day, of), used in held.items():
        write(connection, day, of, used)
    return len(rows)


def forget(connection: Connection, job: Mapping[str, Any]) -> None:
    """Count a job no longer, because it is deleted: another row is of the same job of the provider."""
    counted = counted_of(job)
    if counted != Usage():
        day = day_of(job["created_at"])
        write(connection, day, job["source"], changed(lock_day(connection, day, job["source"]), counted, Usage()))


def changed(used: Usage, before: Usage, after: Usage) -> Usage:
    """What all jobs have used, after one of them has used `after` instead of `before`."""
    return Usage(
        used.jobs - before.jobs + after.jobs,
        used.characters - before.characters + after.characters,
        used.reserved - before.reserved + after.reserved,
        add_credits(used.credits, -before.credits, after.credits),
    )


def counted_of(job: Mapping[str, Any]) -> Usage:
    """What the ledger counts of a job."""
    document = job["counted"]
    if document is None:
        return Usage()
    return Usage(document["jobs"], document["characters"], document["reserved"], Decimal(document["credits"]))


def _document(used: Usage) -> dict[str, Any]:
    return used._asdict() | {"credits": credits_text(used.credits)}


# read


def list_usage(connection: Connection, since: str, source: str | None = None) -> list[UsageRow]:
    """What the jobs since this day have used, the newest day first; marked jobs are added as they are now."""
    found: dict[_Day, Usage] = {}
    c = usage.c
    statement = select(c.day, c.source, c.jobs, c.characters, c.reserved, c.credits).where(c.day >= since)
    if source is not None:
        statement = statement.where(c.source == source)
    for row in connection.execute(statement):
        found[row.day, row.source] = Usage(row.jobs, row.characters, row.reserved, Decimal(row.credits))
    for key, before, after in _pending(connection, source):
        if key[0] >= since:
            found[key] = changed(found.get(key, Usage()), before, after)
    rows = [UsageRow(day, of, used) for (day, of), used in found.items() if used != Usage()]
    return sorted(sorted(rows, key=lambda row: row.source), key=lambda row: row.day, reverse=True)


def read_day(connection: Connection, day: str, source: str) -> Usage:
    """What the source's jobs of this day have used by now."""
    rows = [row.used for row in list_usage(connection, day, source) if row.day == day]
    return rows[0] if rows else Usage()


def _pending(connection: Connection, source: str | None) -> Iterable[tuple[_Day, Usage, Usage]]:
    marked = select(*_COLUMNS).where(_IS_PENDING)
    if source is not None:
        marked = marked.where(jobs.c.source == source)
    for found in connection.execute(marked.order_by(jobs.c.source, jobs.c.id).limit(MAX_PENDING)):
        row = dict(found._mapping)
        yield (day_of(row["created_at"]), row["source"]), counted_of(row), usage_of(row)
