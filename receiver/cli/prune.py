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
    from receiver.engine.pacing import PacedWriter
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

    Keeps open events and audio files. Works beside a running receiver. After Ctrl-C the next prune continues.
    """
    from receiver.cli.matching import count, format_count
    from receiver.cli.session import open_session
    from receiver.engine.maintenance import DAY_SECONDS
    from receiver.store.prune import EVENTS, JOBS, newest_received_at
    from receiver.store.quarantine import QUARANTINE

    with open_session(config) as (settings, database):
        kept = settings.store.retention_days if days is None else days
        aside = settings.store.quarantine_days if days is None else days
        before, aside_before = (time.time() - age * DAY_SECONDS for age in (kept, aside))
        finished = count(_ids(database, EVENTS, before))
        quarantined = count(_ids(database, QUARANTINE, aside_before))
        echo(f"Finished events older than {kept:g} days: {format_count(finished)}.")
        if quarantined:
            echo(f"Events in quarantine older than {aside:g} days: {format_count(quarantined)}.")
        # Counted only without events: the jobs that those ended go with them, and are not looked through before.
        jobs = 0 if finished + quarantined else count(_ids(database, JOBS, before))
        if jobs:
            echo(f"Ended jobs older than {kept:g} days, without an event: {format_count(jobs)}.")
        if not finished + quarantined + jobs:
            return
        newest = database.query(newest_received_at)
        if newest is not None and newest < before:
            echo_error(
                f"The newest event was received on {format_time(newest)}, and this machine's clock says "
                f"{format_time(time.time())}. If the clock is wrong, this deletes events that are not old.",
            )
        confirm(
            f"Delete {format_count(jobs)} jobs?" if jobs else f"Delete {format_count(finished + quarantined)} events?",
            yes,
        )
        _delete(database, [(EVENTS, before), (JOBS, before), (QUARANTINE, aside_before)])


def _ids(database: Database, rows: Prunable, before: float) -> Iterator[str]:
    """Of all that would be deleted, read page by page."""
    from receiver.engine.pruning import PAGE, too_slow

    after = None
    while True:
        try:
            found, after = database.query_list(rows.find, before, after, PAGE)
        except ListingTimeout:
            raise too_slow() from None
        yield from found
        if after is None:
            return


def _delete(database: Database, what: list[tuple[Prunable, float]]) -> None:
    """Delete it, and say how much was deleted, also if it is stopped or fails."""
    from receiver.cli.bulk_changes import StatusLine, run_in_batches
    from receiver.engine.pruning import Pruner
    from receiver.store.prune import EVENTS, JOBS
    from receiver.store.quarantine import QUARANTINE

    status = StatusLine("Deleting")
    deleted: Mapping[str, int] = {rows.kind: 0 for rows in (EVENTS, JOBS, QUARANTINE)}

    def note(so_far: Mapping[str, int]) -> None:
        nonlocal deleted
        deleted = so_far
        status.update(_shown(deleted))

    async def work(paced: PacedWriter) -> None:
        pruner = Pruner(paced, note)
        for rows, before in what:
            await pruner.prune(rows, before)

    run_in_batches(database, work, lambda: _shown(deleted), lambda: "The next `prune` continues.", status.shown)
    echo(f"{_shown(deleted)}.")


def _shown(deleted: Mapping[str, int]) -> str:
    """How much was deleted; jobs only if some were."""
    from receiver.store.prune import EVENTS, JOBS
    from receiver.store.quarantine import QUARANTINE

    jobs = f", jobs: {deleted[JOBS.kind]:,}" if deleted[JOBS.kind] else ""
    return f"Events deleted: {deleted[EVENTS.kind] + deleted[QUARANTINE.kind]:,}{jobs}"
