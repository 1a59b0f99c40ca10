"""`db upgrade`, `db copy` and `db index-metadata`."""

from __future__ import annotations

import typer

from receiver.cli.copy import copy
from receiver.cli.index_metadata import index_metadata
from receiver.cli.options import Config
from receiver.cli.text_output import echo

db = typer.Typer(no_args_is_help=True, help="The store.")


@db.callback()
def _db() -> None:
    """The store."""


@db.command()
def upgrade(config: Config = None) -> None:
    """Migrate the store to this release's schema, or create it. `serve` does the same at startup."""
    from receiver.assembly.resources import open_database
    from receiver.settings import load
    from receiver.store.migrate import migrate

    database = open_database(load(config))
    before, after = migrate(database)
    database.close()
    echo(f"{database.location}: " + (f"already at {after}" if before == after else f"{before or 'empty'} -> {after}"))


db.command()(copy)
db.command()(index_metadata)
