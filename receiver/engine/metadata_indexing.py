"""Indexes the metadata of what was stored before its keys were configured: page by page, in small transactions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Connection

from receiver.clock import Clock
from receiver.engine.batch_writer import BatchWriter
from receiver.store.metadata_index import (
    EVENTS,
    JOBS,
    Indexed,
    StoredMetadata,
    complete_keys,
    index_rows,
    progress_of,
    read_page,
    record_progress,
)

PAGE = 500
"""Rows that one query reads."""


async def index_stored(
    writer: BatchWriter, keys: Sequence[str], committed: Callable[[Indexed, str, int], None], clock: Clock
) -> None:
    """Index all events and jobs by these keys; continue where an earlier call was stopped.

    Args:
        committed: called after each transaction with what was indexed, the id of the last row, and how many of the
            rows have one of the keys.

    Raises:
        ListingTimeout: a page took too long.
        StoreUnavailable: the store did not commit. Earlier batches stay committed.
    """
    for what in (EVENTS, JOBS):
        await _index(writer, what, keys, lambda last, count, what=what: committed(what, last, count))  # type: ignore[misc]
    await writer.write(lambda connection, some: complete_keys(connection, some, clock.now()), keys, lambda _: None)


async def _index(
    writer: BatchWriter, what: Indexed, keys: Collection[str], committed: Callable[[str, int], None]
) -> None:
    names = list(keys)

    def index(connection: Connection, rows: Sequence[StoredMetadata]) -> tuple[str, int]:
        count = index_rows(connection, what, rows, names)
        record_progress(connection, what, names, rows[-1].id)
        return rows[-1].id, count

    after: str | None = await writer.read(progress_of, what, names)
    while after is not None:
        rows, after = await writer.read(read_page, what, after, PAGE)
        if after is not None:
            await writer.write(index, [*rows, StoredMetadata(after, None)], lambda done: committed(*done))
