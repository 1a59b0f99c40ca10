"""`prune` and `db upgrade`: the store's own commands."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from receiver.cli.options import Config, Yes
from receiver.cli.output import confirm, when
from receiver.cli.plain import complain, say

MAX_DAYS = 36_500

db = typer.Typer(no_args_is_help=True, help="The store.")


@db.callback()
def _db() -> None:
    """The store."""


@db.command()
def upgrade(config: Config = None) -> None:
    """Bring the store to this release's schema; make it if it is not there. `serve` does the same at its start."""
    from receiver.places import open_database
    from receiver.settings import load
    from receiver.store.migrate import migrate

    database = open_database(load(config))
    before, after = migrate(database)
    database.close()
    say(f"{database.path}: " + (f"already at {after}" if before == after else f"{before or 'empty'} -> {after}"))


def prune(
    config: Config = None,
    days: Annotated[
        float | None, typer.Option(min=2, max=MAX_DAYS, help="Age in days, instead of the configured ones; at least 2.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Delete events older than the retention period: finished ones, and those in quarantine.

    Open events and audio files stay.
    """
    from receiver.cli.opening import opened
    from receiver.engine.maintenance import DAY_SECONDS
    from receiver.store import quarantine
    from receiver.store.prune import count_prunable, newest_received_at, prune_jobs
    from receiver.store.prune import prune as prune_batch

    with opened(config) as (settings, database):
        kept = settings.store.retention_days if days is None else days
        aside = settings.store.quarantine_days if days is None else days
        before, aside_before = (time.time() - age * DAY_SECONDS for age in (kept, aside))
        finished = database.query(count_prunable, before)
        quarantined = database.query(quarantine.count_old, aside_before)
        say(f"Finished events older than {kept:g} days: {finished}.")
        if quarantined:
            say(f"Events in quarantine older than {aside:g} days: {quarantined}.")
        if not finished + quarantined:
            return
        newest = database.query(newest_received_at)
        if newest is not None and newest < before:
            complain(
                f"The newest event was received on {when(newest)}, and this machine's clock says {when(time.time())}. "
                "If the clock is wrong, this deletes what is not old.",
            )
        confirm(f"Forget {finished + quarantined} events?", yes)
        removed = 0
        while batch := database.transact(prune_batch, before):
            removed += batch
        while database.transact(prune_jobs, before):
            pass
        while batch := database.transact(quarantine.prune, aside_before):
            removed += batch
        say(f"Events deleted: {removed}.")
