"""Deletes what is old, a little at a time, so that deliveries do not notice.

Apart from the hourly maintenance because the command line does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from receiver.engine.pacing import PacedWriter
from receiver.errors import ListingBusy, ListingTimeout
from receiver.store.prune import EVENTS, JOBS, Prunable
from receiver.store.quarantine import QUARANTINE

PAGE = 1000
"""Rows that are looked at in one go."""


class Pruner:
    """Deletes rows of any kind that are old.

    A cancelled deletion is finished first and counted; nothing is lost by that, nor by a kill: every batch is a
    transaction, and the next time starts over with what is left.

    Args:
        progress: called with `deleted` after each batch that deleted something.

    Attributes:
        deleted: how many of each kind, so far.
    """

    def __init__(self, paced: PacedWriter, progress: Callable[[Mapping[str, int]], None]) -> None:
        self.deleted = {rows.kind: 0 for rows in (EVENTS, JOBS, QUARANTINE)}
        self._paced = paced
        self._progress = progress

    async def prune(self, rows: Prunable, before: float) -> int:
        """Delete all of a kind that is older than `before` (unix seconds); how many.

        Raises:
            ListingTimeout: looking for them took too long, or others read lists all the while.
            StoreUnavailable: the store did not commit. What was deleted until then stays deleted.
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
                found, after = await self._paced.read(rows.find, before, after, PAGE)
                await self._paced.write(delete, found, count)
            except ListingBusy:
                raise
            except ListingTimeout:
                raise too_slow() from None
            if after is None:
                return self.deleted[rows.kind]


def too_slow() -> ListingTimeout:
    """The error where even a page of what is old is not found in time: nobody can ask for less."""
    return ListingTimeout(
        f"Looking through {PAGE:,} rows for old ones took too long and was ended: the store's disk is slow, or busy. "
        "Nothing is lost; try again when it has less to do."
    )
