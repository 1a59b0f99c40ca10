"""Rows of fetched audio files: one for each file of an event's job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from receiver.store.dialect import DIALECTS
from receiver.store.schema import artifacts
from receiver.store.searches import Order


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """One fetched file. `duration` in seconds, `sample_rate` in Hz; None if the file does not contain it.

    `n` is the file's number within the job, from 0; `address` is its path, or the address of the object; `format` is a
    short name such as `wav`, `mp3`, `ogg`.
    """

    event_id: str
    n: int
    address: str
    bytes: int
    sha256: str
    content_type: str
    format: str
    duration: float | None
    sample_rate: int | None
    channels: int | None
    fetched_at: float
    fetch_seconds: float


def get(connection: Connection, event_id: str, n: int = 0) -> ArtifactRow | None:
    """The event's n-th artifact; None if it was not fetched."""
    row = connection.execute(select(artifacts).where(artifacts.c.event_id == event_id, artifacts.c.n == n)).first()
    return None if row is None else ArtifactRow(**row._mapping)


def of_events(connection: Connection, ids: Sequence[str]) -> list[ArtifactRow]:
    """The artifacts of these events, in the order of events and files."""
    c = artifacts.c
    rows = connection.execute(select(artifacts).where(c.event_id.in_(ids)).order_by(c.event_id, c.n))
    return [ArtifactRow(**row._mapping) for row in rows]


def page_of_events(
    connection: Connection, before: str | None, after: str, limit: int, order: Order = Order.NEWEST_FIRST
) -> list[str]:
    """The ids of the first events that have artifacts.

    Args:
        before: only ids that sort before this one; None for all.
        after: only ids that sort after this text.
    """
    id = artifacts.c.event_id
    conditions = [id > after] if before is None else [id > after, id < before]
    found = (
        select(id)
        .where(*conditions)
        .group_by(id)
        .order_by(id.desc() if order is Order.NEWEST_FIRST else id)
        .limit(limit)
    )
    return list(connection.execute(found).scalars())


def put_all(connection: Connection, rows: Sequence[ArtifactRow]) -> list[None]:
    """Write the rows in one statement; a later fetch of the same file replaces its row."""
    last = {(row.event_id, row.n): row for row in rows}
    DIALECTS[connection.dialect.name].events.put_artifacts(connection, list(last.values()))
    return [None] * len(rows)
