"""`operations`: changes of all that matches a filter, which the API accepted and a receiver does in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import All, Before, Config, Csv, Json, Limit, Oldest
from receiver.cli.output import format_time
from receiver.cli.text_output import echo
from receiver.errors import NotFound
from receiver.model.audit import AuditOperation
from receiver.model.ids import CHANGE_PREFIX

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from receiver.cli.lists import Listing

app = typer.Typer(no_args_is_help=True, help="Changes of all that matches, in the background.")


@app.command("list")
def list_(
    config: Config = None,
    oldest: Oldest = False,
    before: Before = None,
    limit: Limit = 50,
    all_: All = False,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """List the operations that the API accepted, the newest first, or the oldest, with their progress."""
    from receiver.cli.ids import find_position
    from receiver.cli.lists import Request, counter, ids_of, list_format, list_order, print_list, rows_by_id
    from receiver.cli.session import open_session
    from receiver.store import operations

    format, order = list_format(json, csv), list_order(oldest)
    with open_session(config) as (_, database):
        read = rows_by_id(database, partial(operations.page, order=order))
        request = Request(format, None if all_ else limit, find_position(database, before, CHANGE_PREFIX))
        print_list(_listing(), read, request, counter(ids_of(read)))


def _listing() -> Listing:
    from receiver.cli.lists import Listing
    from receiver.cli.table_layout import Column
    from receiver.engine.matching import MAX_COUNTED_AT_ONCE, format_count
    from receiver.web.api.bulk_models import BulkOperation, operation_of
    from receiver.web.api.fields import cursor_after

    columns = (
        Column("id", itemgetter("id")),
        Column("operation", itemgetter("operation"), 0, 10),
        Column("state", itemgetter("state")),
        Column("changed", lambda row: f"{row['changed']:,}", 0, right=True),
        Column("matching", lambda row: format_count(row["matching"], MAX_COUNTED_AT_ONCE), 1, right=True),
        Column("refused", lambda row: row["refused"] or None, 2, right=True),
        Column("detail", itemgetter("detail"), 3, 20),
        Column("accepted", lambda row: format_time(row["at"]), 4),
        Column("actor", lambda row: row["entry"]["actor"], 5, 12),
        Column("updated", lambda row: format_time(row["updated_at"]), 6),
    )
    return Listing("Operations", columns, BulkOperation, operation_of, cursor=cursor_after)


Operation = Annotated[str, typer.Argument(help="The operation's id.")]


@app.command()
def stop(operation: Operation, config: Config = None) -> None:
    """Stop an operation after the batch in progress. What it has changed stays."""
    from receiver.store import operations

    stopped, row = _change(config, AuditOperation.STOP_OPERATION, operations.stop, operation)
    echo(f"{'Stopped' if stopped else 'It had ended'}: {row['state']}, changed: {row['changed']:,}.")


@app.command()
def resume(operation: Operation, config: Config = None) -> None:
    """Continue an operation that has failed or was stopped, where it was. A receiver does it."""
    from receiver.store import operations

    resumed, row = _change(config, AuditOperation.RESUME_OPERATION, operations.resume, operation)
    echo(f"{'Resumed' if resumed else 'Not resumed'}: {row['state']}, changed: {row['changed']:,}.")


def _change(
    config: Config, kind: AuditOperation, change: Callable[[Connection, str, float], bool], operation: str
) -> tuple[bool, dict[str, Any]]:
    """Whether it was changed, and its row.

    Raises:
        NotFound: there is no such operation.
    """
    from receiver.cli.recording import auditor
    from receiver.cli.session import open_session
    from receiver.engine.audit import recorded
    from receiver.store import operations

    with open_session(config) as (settings, database):
        recorder = auditor(settings, kind).single(operation=operation)
        changed = database.transact(recorded, recorder, int, change, operation, time.time())
        row = database.query(operations.get, operation)
    if row is None:
        raise NotFound(f"There is no operation {operation}.")
    return changed, row
