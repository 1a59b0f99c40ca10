"""The beginnings of ids by which people name events and jobs, and what a beginning stands for.

An id begins with the time at which it was created, in milliseconds: 12 hex digits, then the digit 7, then random ones.
The first 16 digits tell apart what is not created in the same millisecond, and most of what is. They are found in the
primary key, as a part from the middle or the end of an id could not be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, select

from receiver.store.expressions import CheckedOnly
from receiver.store.schema import events, jobs

DIGITS = 16
"""Of a short id, at the least."""
MAX_CANDIDATES = 10
"""Ids that are listed for a beginning that is not unique."""
MIN_PROVIDER_CHARACTERS = 8
"""Of the beginning of a provider's id: the first group of a UUID."""
_BATCH = 500
_END = "\U0010ffff"


def shorten_events(connection: Connection, ids: Collection[str]) -> dict[str, str]:
    """The shortest beginning of each event's id that no other event's id has, without `evt_`."""
    return _shorten(connection, events.c.id, ids)


def shorten_jobs(connection: Connection, ids: Collection[str]) -> dict[str, str]:
    """As `shorten_events`, for our ids of jobs, without `job_`."""
    return _shorten(connection, jobs.c.id, ids)


def events_beginning_with(connection: Connection, text: str) -> list[str]:
    """The ids of the events that begin with a text; at most one more than `MAX_CANDIDATES`."""
    return _beginning_with(connection, events.c.id, text)


def jobs_beginning_with(connection: Connection, text: str, source: str | None = None) -> list[str]:
    """Our ids of the jobs whose id, ours or the provider's, begins with a text; as `events_beginning_with`.

    Args:
        text: ours without `job_`, or at least `MIN_PROVIDER_CHARACTERS` of the provider's.
    """
    found = _beginning_with(connection, jobs.c.id, f"job_{text.removeprefix('job_')}")
    if len(text) >= MIN_PROVIDER_CHARACTERS:
        found += _beginning_with(connection, jobs.c.job_id, text, jobs.c.id)
    if source is not None and found:
        of_source = select(jobs.c.id).where(jobs.c.id.in_(found), CheckedOnly(jobs.c.source) == source)
        found = list(connection.execute(of_source).scalars())
    return sorted(set(found))


def provider_ids_beginning_with(connection: Connection, text: str) -> list[str]:
    """The providers' ids of jobs that have an event, and begin with a text of at least `MIN_PROVIDER_CHARACTERS`."""
    if len(text) < MIN_PROVIDER_CHARACTERS:
        return []
    return sorted(set(_beginning_with(connection, events.c.key, text)))


def _beginning_with(connection: Connection, column: Any, text: str, wanted: Any = None) -> list[str]:
    statement = select(column if wanted is None else wanted).where(column >= text, column < text + _END)
    return list(connection.execute(statement.order_by(column).limit(MAX_CANDIDATES + 1)).scalars())


def _shorten(connection: Connection, column: Any, ids: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for batch in _batches(sorted(set(ids))):
        for id_, *neighbours in connection.execute(_with_neighbours(column).where(column.in_(batch))):
            shared = max(_common(id_, other or "") for other in neighbours)
            found[id_] = _digits(id_, shared + 1)
    return {id_: found.get(id_) or _digits(id_, len(id_)) for id_ in ids}  # whole, if it was deleted meanwhile


def _with_neighbours(column: Any) -> Select[Any]:
    """Ids, each with the one before it and the one after it."""
    other = column.table.alias().c[column.key]
    before = select(other).where(other < column).order_by(other.desc()).limit(1).scalar_subquery()
    after = select(other).where(other > column).order_by(other).limit(1).scalar_subquery()
    return select(column, before, after)


def _digits(id_: str, end: int) -> str:
    prefix = id_.find("_") + 1
    return id_[prefix : max(prefix + DIGITS, end)]


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at the beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
