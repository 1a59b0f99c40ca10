"""`prune`: delete old events and jobs, with or without a running receiver."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import Config, Yes
from receiver.cli.output import confirm, format_time
from receiver.cli.text_output import echo, echo_error
from receiver.errors import ListingTimeout

if TYPE_CHECKING:
    from receiver.engine.audit import ChangeRecorder
    from receiver.engine.batch_writer import BatchWriter
    from receiver.store.database import Database
    from receiver.store.prune import Prunable

MAX_DAYS = 36_500


def prune(
    config: Config = None,
    days: Annotated[
        float | None,
        typer.Option(min=2, max=MAX_DAYS, help="Retention period in days, instead of the configured ones; at least 2."),
    ] = None,
    yes: Yes = False,
) -> None:
    """Delete events older than the retention period: finished ones, and those in quarantine.

    Also entries of the audit log older than `store.audit_days`, whatever --days says. Keeps open events and audio
    files. A receiver may be running. After Ctrl-C the next prune continues.
    """
    from receiver.cli.counting import count
    from receiver.cli.recording import auditor
    from receiver.cli.session import open_session
    from receiver.engine.maintenance import DAY_SECONDS
    from receiver.engine.matching import format_count
    from receiver.model.audit import AuditOperation
    from receiver.store.audit import AUDIT_ENTRIES
    from receiver.store.prune import EVENTS, JOBS, newest_received_at
    from receiver.store.quarantine import QUARANTINE

    with open_session(config) as (settings, database):
        retention_days = settings.store.retention_days if days is None else days
        quarantine_days = settings.store.quarantine_days if days is None else days
        before, quarantine_before = (time.time() - age * DAY_SECONDS for age in (retention_days, quarantine_days))
        finished = count(_ids(database, EVENTS, before))
        quarantined = count(_ids(database, QUARANTINE, quarantine_before))
        echo(f"Finished events older than {retention_days:g} days: {format_count(finished)}.")
        if quarantined:
            echo(f"Events in quarantine older than {quarantine_days:g} days: {format_count(quarantined)}.")
        # Counted only if there is no event to delete: a job is deleted with its event.
        jobs = 0 if finished + quarantined else count(_ids(database, JOBS, before))
        if jobs:
            echo(f"Ended jobs older than {retention_days:g} days, without an event: {format_count(jobs)}.")
        entries_before = time.time() - settings.store.audit_days * DAY_SECONDS
        entries = count(_ids(database, AUDIT_ENTRIES, entries_before))
        if entries:
            echo(f"Entries of the audit log older than {settings.store.audit_days:g} days: {format_count(entries)}.")
        if not finished + quarantined + jobs + entries:
            return
        newest = database.query(newest_received_at)
        if newest is not None and newest < before:
            echo_error(
                f"The newest event was received on {format_time(newest)}, and this machine's clock says "
                f"{format_time(time.time())}. If the clock is wrong, this deletes events that are not old.",
            )
        what = [
            f"{format_count(number)} {name}"
            for number, name in ((finished + quarantined, "events"), (jobs, "jobs"), (entries, "entries"))
            if number
        ]
        confirm(f"Delete {' and '.join(what)}?", yes)
        recorder = auditor(settings, AuditOperation.PRUNE).bulk(days=days)
        bounds = {EVENTS: before, JOBS: before, QUARANTINE: quarantine_before, AUDIT_ENTRIES: entries_before}
        _delete(database, recorder, bounds)


def _ids(database: Database, rows: Prunable, before: float) -> Iterator[str]:
    """The ids of all rows that would be deleted, read page by page."""
    from receiver.engine.pruning import PAGE, pruning_timeout

    after = None
    while True:
        try:
            found, after = database.query_list(rows.find, before, after, PAGE)
        except ListingTimeout:
            raise pruning_timeout() from None
        yield from found
        if after is None:
            return


def _delete(database: Database, recorder: ChangeRecorder, bounds: dict[Prunable, float]) -> None:
    """Delete the rows, and print how many were deleted, also after a stop or an error."""
    from receiver.cli.bulk_changes import run_in_batches
    from receiver.engine.pruning import Pruner

    progress = _Progress()

    async def work(writer: BatchWriter) -> None:
        pruner = Pruner(writer, progress.update)
        for kind, before in bounds.items():
            await pruner.prune(kind, before)

    run_in_batches(database, recorder, int, work, progress, progress.status.shown)
    echo(f"{progress.summary()}.")


class _Progress:
    """Shows how much was deleted."""

    def __init__(self) -> None:
        from receiver.cli.bulk_changes import StatusLine

        self._deleted: Mapping[str, int] = {}
        self.status = StatusLine("Deleting")

    def update(self, deleted: Mapping[str, int]) -> None:
        self._deleted = deleted
        self.status.update(self.summary())

    def summary(self) -> str:
        """See `BulkProgress.summary`. Jobs and entries are listed only if some were deleted."""
        from receiver.store.audit import AUDIT_ENTRIES
        from receiver.store.prune import EVENTS, JOBS
        from receiver.store.quarantine import QUARANTINE

        events = sum(self._deleted.get(kind.kind, 0) for kind in (EVENTS, QUARANTINE))
        jobs = self._deleted.get(JOBS.kind, 0)
        entries = self._deleted.get(AUDIT_ENTRIES.kind, 0)
        more = (f", jobs: {jobs:,}" if jobs else "") + (f", entries of the audit log: {entries:,}" if entries else "")
        return f"Events deleted: {events:,}{more}"

    def resume_hint(self) -> str:
        """See `BulkProgress.resume_hint`."""
        return "The next `prune` continues."
