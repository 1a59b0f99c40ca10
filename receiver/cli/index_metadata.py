"""`db index-metadata`: index what was stored before `search.metadata` named a key."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from receiver.cli.options import Config
from receiver.errors import ReceiverError

if TYPE_CHECKING:
    from receiver.engine.batch_writer import BatchWriter
    from receiver.store.database import Database
    from receiver.store.metadata_index import Indexed


def index_metadata(config: Config = None) -> None:
    """Index the metadata of what was stored before search.metadata named its keys, so that lists find it.

    Restart every receiver on the store before. It may run meanwhile. After a stop the same command continues.
    """
    from receiver.cli.bulk_changes import run_in_batches
    from receiver.cli.session import open_session
    from receiver.cli.text_output import echo
    from receiver.clock import SystemClock
    from receiver.engine.metadata_indexing import index_stored
    from receiver.store.metadata_index import MetadataNotIndexed, declare_keys

    with open_session(config) as (settings, database):
        keys = settings.search.metadata
        if not keys:
            raise MetadataNotIndexed(
                "search.metadata names no key: add those by which lists are to find events and jobs."
            )
        now = time.time()
        missing = database.transact(declare_keys, keys, now, now)
        if not missing:
            echo(f"All that is stored is indexed by {', '.join(keys)}.")
            return
        _require_restarted(database, missing)
        progress = _Progress(missing)

        async def work(writer: BatchWriter) -> None:
            await index_stored(writer, missing, progress.add, SystemClock())

        run_in_batches(database, None, lambda _: 0, work, progress, progress.status.shown)
        echo(f"{progress.summary()}. Lists find them with --metadata.")


class RestartNeeded(ReceiverError):
    """Running processes do not know a key: what they store would be missing in the index."""

    reason = "restart_needed"


def _require_restarted(database: Database, keys: Collection[str]) -> None:
    """Refuse to index while a process runs that does not index what it stores by these keys.

    Raises:
        RestartNeeded: names the processes.
    """
    from receiver.store.metadata_index import unknown_keys

    try:
        living = set(database.find_living())
    except OSError:  # unknown: all count that have not left
        living = None
    for key, owners in database.query_list(unknown_keys, keys).items():
        if older := [owner for owner in owners if living is None or owner in living]:
            raise RestartNeeded(
                f"These processes were started without {key!r} in search.metadata, and do not index what they store: "
                f"{', '.join(older)}. Add it to their configuration and restart them, then run this command again."
            )


class _Progress:
    """Counts what is committed, and shows it."""

    def __init__(self, keys: list[str]) -> None:
        from receiver.cli.bulk_changes import StatusLine

        self._keys = ", ".join(keys)
        self._counts = {"events": 0, "jobs": 0}
        self.status = StatusLine("Indexing")

    def add(self, what: Indexed, last: str, count: int) -> None:
        """Count rows of a transaction, the last of which has this id."""
        from receiver.cli.output import format_time
        from receiver.model.ids import time_of_id

        self._counts[what.table.name] += count
        at = time_of_id(last)
        reached = "" if at is None else f", {what.table.name} of {format_time(at)}"
        self.status.update(f"{self.summary()}{reached}")

    def summary(self) -> str:
        """See `BulkProgress.summary`."""
        events, jobs = self._counts["events"], self._counts["jobs"]
        return f"Indexed by {self._keys}: {events:,} events, {jobs:,} jobs"

    def resume_hint(self) -> str:
        """See `BulkProgress.resume_hint`."""
        from receiver.cli.output import CONTINUES

        return CONTINUES
