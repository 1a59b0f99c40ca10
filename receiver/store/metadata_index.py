"""The index of metadata: which keys lists can use, and the indexing of what was stored before a key was configured.

An event or a job is indexed by the transaction that stores it. What an older configuration stored is indexed in
batches, each of which records how far it is; a list uses a key once that has ended.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Table, Text, cast, delete, exists, func, or_, select, update

from receiver.errors import ReceiverError
from receiver.model.metadata import indexed_pairs
from receiver.store.dialect import DIALECTS
from receiver.store.expressions import JsonBytes
from receiver.store.schema import event_metadata, events, job_metadata, jobs, metadata_keys, processes

PAGE_BYTES = 4 * 1024 * 1024
"""Bytes of stored metadata and what is around it that one page reads."""


_DECLARATION = "search.metadata"
"""The name of the lock of `declare_keys`."""


class MetadataNotIndexed(ReceiverError):
    """A filter names a key by which the store has no complete index."""

    reason = "metadata_not_indexed"


@dataclass(frozen=True, slots=True)
class Indexed:
    """A kind of rows whose metadata is indexed.

    Attributes:
        table, document: where the metadata is stored: a JSON object that has it as `metadata`.
        index: the table of its pairs.
        progress: the column of `metadata_keys` that says how far the rows are indexed.
    """

    table: Table
    document: Column[Any]
    index: Table
    progress: Column[str]


EVENTS = Indexed(events, events.c.payload, event_metadata, metadata_keys.c.event_id)
JOBS = Indexed(jobs, jobs.c.request, job_metadata, metadata_keys.c.job_id)


class StoredMetadata(NamedTuple):
    """The id of an event or a job, and its metadata."""

    id: str
    metadata: Any


def declare_keys(connection: Connection, keys: Collection[str], since: float, now: float) -> list[str]:
    """Record which keys the configuration names, at the start of a process.

    In an empty store a new key is complete, unless a process is there that does not index by it: what that one stores
    would be missing. The row of a process that stores something is written before, or in this transaction.

    Args:
        since: when the process started, unix seconds; so is `now`.

    Returns:
        The keys among them by which not all that is stored is indexed.
    """
    DIALECTS[connection.dialect.name].events.hold_keys(connection, [_DECLARATION])  # processes start at one time
    known = {row.key: row.completed_at for row in connection.execute(select(metadata_keys))}
    if forgotten := known.keys() - set(keys):
        connection.execute(delete(metadata_keys).where(metadata_keys.c.key.in_(forgotten)))
    if added := [key for key in keys if key not in known]:
        stored = (exists(select(table.c.id).where(table.c.id > "")) for table in (events, jobs))
        empty = not connection.execute(select(or_(*stored))).scalar()
        complete = set(added) - unknown_keys(connection, added).keys() if empty else set()
        completed = {key: now if key in complete else None for key in added}
        rows = [{"key": key, "since": since, "completed_at": at} for key, at in completed.items()]
        connection.execute(DIALECTS[connection.dialect.name].insert(metadata_keys).on_conflict_do_nothing(), rows)
        known |= completed
    return [key for key in keys if known[key] is None]


def unknown_keys(connection: Connection, keys: Collection[str]) -> dict[str, list[str]]:
    """Those of these keys by which a process does not index what it stores, with the names of such processes."""
    found: dict[str, list[str]] = {}
    for row in connection.execute(select(processes.c.owner, processes.c.metadata_keys).order_by(processes.c.owner)):
        for key in keys:
            if key not in (row.metadata_keys or ()):
                found.setdefault(key, []).append(row.owner)
    return found


def require_indexed(connection: Connection, keys: Collection[str]) -> None:
    """Refuse keys by which not all that is stored is indexed: a list would lack something.

    Raises:
        MetadataNotIndexed: for the first such key.
    """
    complete = metadata_keys.c.completed_at.is_not(None)
    found = set(connection.execute(select(metadata_keys.c.key).where(complete)).scalars())
    for key in keys:
        if key not in found:
            raise MetadataNotIndexed(
                f"What was stored before search.metadata had {key!r} is not indexed yet: "
                "`tts-receiver db index-metadata` does that."
            )


def progress_of(connection: Connection, what: Indexed, keys: Collection[str]) -> str:
    """The id up to which rows are indexed by all of these keys."""
    reached = select(func.min(what.progress)).where(metadata_keys.c.key.in_(keys))
    return connection.execute(reached).scalar() or ""


def read_page(connection: Connection, what: Indexed, after: str, limit: int) -> tuple[list[StoredMetadata], str | None]:
    """Up to `limit` rows after an id, fewer if they are large: those that have metadata, and the last id of all.

    The id is None after the last row.
    """
    id_ = what.table.c.id
    size = JsonBytes(what.document).label("bytes")
    rows = connection.execute(select(id_, size).where(id_ > after).order_by(id_).limit(limit)).all()
    if not rows:
        return [], None
    taken, left = 0, PAGE_BYTES
    for row in rows:
        left -= row.bytes or 0
        if taken and left < 0:
            break
        taken += 1
    last = rows[taken - 1].id
    document = cast(what.document, Text).label("document")
    page = connection.execute(select(id_, document).where(id_ > after, id_ <= last).order_by(id_))
    found = [StoredMetadata(row.id, _metadata_of(row.document)) for row in page]
    return [item for item in found if item.metadata], last


def _metadata_of(document: str | None) -> Any:
    try:
        value = json.loads(document or "null")
    except (ValueError, RecursionError):
        return None
    return value.get("metadata") if isinstance(value, Mapping) else None


def index_rows(connection: Connection, what: Indexed, rows: Sequence[StoredMetadata], keys: Sequence[str]) -> int:
    """Index those of the rows that are still stored, by these keys; how many of them have one."""
    pairs = [(row.id, *pair) for row in rows for pair in indexed_pairs(row.metadata, keys)]
    if pairs:
        id_ = what.table.c.id
        stored = (
            select(id_)
            .where(id_.in_({row[0] for row in pairs}))
            .order_by(id_)
            .with_for_update(read=True, key_share=True)
        )
        kept = set(connection.execute(stored).scalars())
        pairs = [row for row in pairs if row[0] in kept]
        DIALECTS[connection.dialect.name].events.insert_metadata(connection, what.index.name, pairs)
    return len({row[0] for row in pairs})


def record_progress(connection: Connection, what: Indexed, keys: Collection[str], reached: str) -> None:
    """Record that the rows up to this id are indexed by these keys."""
    connection.execute(update(metadata_keys).where(metadata_keys.c.key.in_(keys)).values({what.progress.name: reached}))


def complete_keys(connection: Connection, keys: Collection[str], now: float) -> None:
    """Record that all that is stored is indexed by these keys; `now` in unix seconds."""
    connection.execute(update(metadata_keys).where(metadata_keys.c.key.in_(keys)).values(completed_at=now))
