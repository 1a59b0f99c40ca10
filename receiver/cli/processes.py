"""`processes`: the processes that use the store now."""

from __future__ import annotations

import time

import typer

from receiver.cli.options import Config, Json
from receiver.cli.output import print_table, with_iso_times
from receiver.cli.text_output import echo_error, print_json

app = typer.Typer(no_args_is_help=True, help="Processes: which receivers use the store.")


@app.callback()
def _group() -> None:
    """A group, though it has one command."""


@app.command("list")
def list_(config: Config = None, json: Json = False) -> None:
    """List the processes that use the store, with the leases that each holds."""
    from receiver.cli.session import clock_difference, open_session
    from receiver.engine.server_clock import WARN_SECONDS
    from receiver.store import processes

    with open_session(config) as (_, database):
        rows = database.query_list(processes.listed)
        ahead = clock_difference(database)
    now = time.time() - ahead
    if abs(ahead) > WARN_SECONDS:
        direction = "ahead of" if ahead > 0 else "behind"
        echo_error(f"! This machine's clock is {abs(ahead):.1f} s {direction} the database server's.")
    if json:
        print_json(
            [
                with_iso_times(
                    row | {"heartbeat_age_seconds": round(now - row["heartbeat_at"], 1)}, "started_at", "heartbeat_at"
                )
                for row in rows
            ]
        )
        return
    print_table(
        f"Processes: {len(rows)}",
        ["process", "role", "version", "seen alive", "runs", "jobs"],
        [
            (
                row["owner"],
                row["role"],
                row["version"],
                f"{max(0.0, now - row['heartbeat_at']):.0f} s ago",
                row["runs"],
                row["jobs"],
            )
            for row in rows
        ],
    )
