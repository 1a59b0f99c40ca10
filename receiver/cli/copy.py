"""`db copy`: move a store to another database."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from receiver.store.copying import CopiedTable
    from receiver.store.database import Database

WAIT_SECONDS = 5.0
"""How long sessions of a process that was just killed may remain."""
_ADDRESS = "an address such as sqlite:///data/receiver.db or postgresql://user@host/database, or a .toml file"


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help=f"The store: {_ADDRESS} with store.url.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="An empty store: as FROM.")],
) -> None:
    """Copy a store into an empty one, SQLite or PostgreSQL, then compare the two.

    Stop every receiver before. After a stop, run the same command again: it continues. Audio files are not copied.
    Put a password into PGPASSWORD, ~/.pgpass or a configuration file: in an address other users could see it.
    """
    import asyncio

    from receiver.cli.bulk_changes import StatusLine
    from receiver.cli.lists import print_table
    from receiver.cli.table_layout import Column
    from receiver.cli.text_output import echo, echo_error
    from receiver.errors import NotFound
    from receiver.store.copying import Copy, CopyRefused, CopyStopped, is_in_use

    origin, goal = _open(source, "FROM"), _open(target, "TO")
    stop, stopped_by = threading.Event(), []
    status = StatusLine("Copying")

    def report(what: str, table: str, rows: int, total: int) -> None:
        status.update(f"{what} {table}: {rows:,} of {total:,}")

    def run() -> list[CopiedTable]:
        if origin.location == goal.location:
            raise CopyRefused(f"FROM and TO are the same store, {origin.location}.")
        if not origin.exists():
            raise NotFound(f"There is no store at {origin.location}.")
        deadline = time.monotonic() + WAIT_SECONDS
        for store in (origin, goal):
            while is_in_use(store):
                if stop.is_set():
                    raise CopyStopped
                if time.monotonic() >= deadline:
                    raise CopyRefused(f"The store {store.location} is in use: stop every receiver on it, then copy.")
                stop.wait(0.1)
        return Copy(origin, goal, report, stop.is_set).run()

    async def work() -> list[CopiedTable]:
        from receiver.cli.stop_signals import stop_signals

        def on_stop(number: signal.Signals) -> None:
            stopped_by.append(number)
            stop.set()

        with stop_signals(on_stop):
            return await asyncio.to_thread(run)

    try:
        with status.shown:
            done = asyncio.run(work())
    except CopyStopped:
        echo_error("Stopped. Run the same command again to continue.")
        if stopped_by[0] is not signal.SIGINT:
            sys.exit(128 + stopped_by[0])
        raise KeyboardInterrupt from None
    finally:
        origin.close()
        goal.close()
    columns = (
        Column("table", lambda table: table.name),
        Column("rows", lambda table: f"{table.rows:,}", right=True),
        Column("sha256", lambda table: table.sha256[:16]),
    )
    print_table(columns, done)
    echo("The stores are the same.")
    echo(f"Copied {origin.location} to {goal.location}. Set store.url to the new store and start the receiver.")


def _open(text: str, name: str) -> Database:
    """The store that an argument names.

    Raises:
        typer.BadParameter: it names none, or has a password.
        ConfigError: the configuration file cannot be used.
    """
    from receiver.assembly.resources import open_address, open_database
    from receiver.settings import load

    if text.endswith(".toml"):
        return open_database(load(Path(text)))
    user, _, _ = text.partition("://")[2].rpartition("@")
    if user.partition(":")[2] or "password" in text.partition("?")[2]:
        raise typer.BadParameter(
            "The address has a password, which other users of this machine can see: put it into PGPASSWORD, ~/.pgpass "
            "or a configuration file, and name that file.",
            param_hint=name,
        )
    if ":" not in text:
        raise typer.BadParameter(f"{text!r} is not {_ADDRESS}. For a file: sqlite:///{text}", param_hint=name)
    try:
        return open_address(text, Path.cwd())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=name) from None
