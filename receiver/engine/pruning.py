"""Deletes old rows in small batches, so that deliveries are not delayed.

Not in `maintenance`, because the command line uses it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from receiver.engine.batch_writer import BatchWriter
from receiver.errors import ListingBusy, ListingTimeout
from receiver.store.audit import AUDIT_ENTRIES
from receiver.store.operations import OPERATIONS
from receiver.store.prune import EVENTS, JOBS, Prunable
from receiver.store.quarantine import QUARANTINE
from receiver.store.rollups import ROLLUPS
from receiver.store.sessions import SESSIONS

PAGE = 1000
"""Rows that are read at a time."""


class Pruner:
    """Deletes old rows of any kind.

    A cancelled deletion finishes and counts its batch first. Every batch is a transaction, so after a cancellation or a
    kill the next call continues with the remaining rows.

    Args:
        progress: called with `deleted` after each batch that deleted something.

    Attributes:
        deleted: how many of each kind so far.
    """

    def __init__(self, writer: BatchWriter, progress: Callable[[Mapping[str, int]], None]) -> None:
        self.deleted = {
            rows.kind: 0 for rows in (EVENTS, JOBS, QUARANTINE, AUDIT_ENTRIES, OPERATIONS, SESSIONS, *ROLLUPS.values())
        }
        self._writer = writer
        self._progress = progress

    async def prune(self, rows: Prunable, before: float) -> int:
        """Delete all rows of a kind that are older than `before` (unix seconds); return how many.

        Raises:
            ListingTimeout: finding them took too long, or other lists occupied the readers all the time.
            StoreUnavailable: the store did not commit. Earlier batches stay deleted.
        """

        def delete(connection: Connection, ids: Sequence[str]) -> int:
            return rows.delete(connection, before, ids)

        def count(deleted: int) -> None:
            if deleted:
                self.deleted[rows.kind] += deleted
                self._progress(self.deleted)

        after = None
        while True:
            try:
                found, after = await self._writer.read(rows.find, before, after, PAGE)
                await self._writer.write(delete, found, count)
            except ListingBusy:
                raise
            except ListingTimeout:
                raise pruning_timeout() from None
            if after is None:
                return self.deleted[rows.kind]


def pruning_timeout() -> ListingTimeout:
    """Return the error for a page of old rows that is not found in time; the caller cannot request less."""
    return ListingTimeout(
        f"Searching {PAGE:,} rows for old ones took too long and was interrupted: the store's disk is slow, or busy. "
        "Nothing is lost; try again when it is less busy."
    )
