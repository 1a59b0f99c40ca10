"""`prune` and `db upgrade`: the store's own commands."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from receiver.cli.opening import opened
from receiver.cli.options import Config, Yes
from receiver.cli.output import confirm
from receiver.engine.maintenance import DAY_SECONDS
from receiver.places import open_database
from receiver.settings import load
from receiver.store.migrate import migrate
from receiver.store.prune import count_prunable, prune_jobs
from receiver.store.prune import prune as prune_batch

db = typer.Typer(no_args_is_help=True, help="The store.")


@db.callback()
def _db() -> None:
    """The store."""


@db.command()
def upgrade(config: Config = None) -> None:
    """Bring the store to this release's schema; make it if it is not there. `serve` does the same at its start."""
    database = open_database(load(config))
    before, after = migrate(database)
    database.close()
    typer.echo(f"{database.path}: " + (f"already at {after}" if before == after else f"{before or 'empty'} -> {after}"))


def prune(
    config: Config = None,
    days: Annotated[
        float | None, typer.Option(min=2, help="Older than this, instead of store.retention_days; at least 2.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Forget finished events that are older than the retention. Open events and audio files stay."""
    with opened(config) as (settings, database):
        kept = settings.store.retention_days if days is None else days
        before = time.time() - kept * DAY_SECONDS
        count = database.query(count_prunable, before)
        typer.echo(f"Finished events older than {kept:g} days: {count}.")
        if not count:
            return
        confirm(f"Forget {count} events?", yes)
        removed = 0
        while batch := database.transact(prune_batch, before):
            removed += batch
        while database.transact(prune_jobs, before):
            pass
        typer.echo(f"Events forgotten: {removed}.")
