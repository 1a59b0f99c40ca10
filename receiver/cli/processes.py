"""`processes`: the processes that use the store now."""

from __future__ import annotations

import time
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import typer

from receiver.cli.options import Config, Csv, Json
from receiver.cli.text_output import echo_error

if TYPE_CHECKING:
    from receiver.cli.lists import Listing

app = typer.Typer(no_args_is_help=True, help="Processes: which receivers use the store.")


@app.callback()
def _group() -> None:
    """A group, though it has one command."""


@app.command("list")
def list_(config: Config = None, json: Json = False, csv: Csv = False) -> None:
    """List the processes that use the store, with the leases that each holds."""
    from receiver.cli.lists import list_format, print_rows
    from receiver.cli.session import clock_difference, open_session
    from receiver.engine.server_clock import WARN_SECONDS
    from receiver.store import processes

    format = list_format(json, csv)
    with open_session(config) as (_, database):
        rows = database.query_list(processes.listed)
        ahead = clock_difference(database)
    now = time.time() - ahead
    if abs(ahead) > WARN_SECONDS:
        direction = "ahead of" if ahead > 0 else "behind"
        echo_error(f"! This machine's clock is {abs(ahead):.1f} s {direction} the database server's.")
    print_rows(_listing(now), rows, format)


def _listing(now: float) -> Listing:
    from receiver.cli.lists import Listing
    from receiver.cli.table_layout import Column
    from receiver.web.api.setup import process_of
    from receiver.web.api.setup_models import Process

    columns = (
        Column("process", itemgetter("owner")),
        Column("role", itemgetter("role")),
        Column("version", itemgetter("version"), 2),
        Column("seen alive", lambda row: f"{max(0.0, now - row['heartbeat_at']):.0f} s ago"),
        Column("clock", _difference, 1, right=True),
        Column("runs", itemgetter("runs"), 1, right=True),
        Column("jobs", itemgetter("jobs"), 1, right=True),
    )
    return Listing("Processes", columns, Process, lambda row: process_of(row, now))


def _difference(row: dict[str, Any]) -> str | None:
    """How far a process's clock is ahead of the database server's, in whole tenths of a second."""
    difference = row["clock_difference"]
    if difference is None:
        return None
    tenths = round(difference, 1)
    return f"{tenths:+,.1f} s" if tenths else "0 s"
