"""`changes`: the audit log, who changed what."""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import All, Before, Config, Csv, Json, Limit, Oldest, check_choice, parse_range
from receiver.cli.output import format_time
from receiver.model.audit import AuditOperation, AuditState
from receiver.model.ids import CHANGE_PREFIX

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from receiver.cli.lists import Listing

app = typer.Typer(no_args_is_help=True, help="Changes: who changed what, the audit log.")

OPERATIONS = tuple(str(operation) for operation in AuditOperation)


@app.callback()
def _group() -> None:
    """A group, though it has one command."""


@app.command("list")
def list_(
    config: Config = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Only by this token's id, or user@host.")] = None,
    operation: Annotated[
        str | None, typer.Option("--operation", help=f"Only of this operation: {', '.join(OPERATIONS)}.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="Since: an age (30m, 2h, 3d) or an ISO time.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Before: an age (30m, 2h, 3d) or an ISO time.")] = None,
    oldest: Oldest = False,
    before: Before = None,
    limit: Limit = 50,
    all_: All = False,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """List the changes that operators made, with the API or with commands, the newest first, or the oldest."""
    from receiver.cli.ids import find_position
    from receiver.cli.lists import Request, counter, ids_of, list_format, list_order, print_list, rows_by_id
    from receiver.cli.session import open_session
    from receiver.store import audit
    from receiver.store.audit import AuditFilter

    begun_after, begun_before = parse_range(since, until)
    word = check_choice(operation, OPERATIONS, "--operation")
    filters = AuditFilter(
        actor=actor, operation=None if word is None else AuditOperation(word), since=begun_after, until=begun_before
    )
    format, order = list_format(json, csv), list_order(oldest)
    with open_session(config) as (_, database):

        def select(connection: Connection, before: str | None, limit: int) -> list[dict[str, Any]]:
            return audit.list_entries(connection, replace(filters, **order.beyond(before)), limit, order)

        read = rows_by_id(database, select)
        request = Request(format, None if all_ else limit, find_position(database, before, CHANGE_PREFIX))
        print_list(_listing(), read, request, counter(ids_of(read)))


def _listing() -> Listing:
    from receiver.cli.lists import Listing
    from receiver.cli.table_layout import Column
    from receiver.web.api.fields import cursor_after
    from receiver.web.api.models import Change, change_of

    columns = (
        Column("at", lambda row: format_time(row["at"])),
        Column("actor", lambda row: f"{row['actor']} ({row['via']})", 0, 12),
        Column("operation", itemgetter("operation"), 0, 10),
        Column("changed", _count, 0, right=True),
        Column("filter", lambda row: _filter_text(row["filter"]), 1, 16),
        Column("detail", itemgetter("detail"), 2, 20),
    )
    return Listing("Changes", columns, Change, change_of, cursor=cursor_after)


def _count(row: dict[str, Any]) -> str:
    number = f"{row['changed']:,}"
    return number if row["state"] == AuditState.COMPLETED else f"{number} ({row['state']})"


def _filter_text(filter: dict[str, Any]) -> str | None:
    texts = (
        f"{name}={', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in filter.items()
    )
    return " ".join(texts) or None
