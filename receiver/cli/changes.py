"""`changes`: the audit log, who changed what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from receiver.cli.options import Config, Json, Limit, check_choice, parse_range
from receiver.cli.output import format_time, print_table
from receiver.cli.text_output import print_json
from receiver.model.audit import AuditOperation, AuditState

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
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List the changes that operators made, with the API or with commands, newest first."""
    from receiver.cli.session import open_session
    from receiver.store import audit
    from receiver.store.audit import AuditFilter

    after, before = parse_range(since, until)
    word = check_choice(operation, OPERATIONS, "--operation")
    filters = AuditFilter(
        actor=actor, operation=None if word is None else AuditOperation(word), since=after, until=before
    )
    with open_session(config) as (_, database):
        rows = database.query_list(audit.list_entries, filters, limit)
    if json:
        from receiver.web.api.models import change_of

        print_json([change_of(row).model_dump(mode="json") for row in rows])
        return
    print_table(
        f"Changes: {len(rows)}" + (f" (the newest {limit}; --limit shows more)" if len(rows) == limit else ""),
        ["at", "actor", "operation", "changed", "filter", "detail"],
        [
            (
                format_time(row["at"]), f"{row['actor']} ({row['via']})", row["operation"], _count(row),
                _filter_text(row["filter"]), row["detail"],
            )
            for row in rows
        ],
    )  # fmt: skip


def _count(row: dict[str, Any]) -> str:
    number = f"{row['changed']:,}"
    return number if row["state"] == AuditState.COMPLETED else f"{number} ({row['state']})"


def _filter_text(filter: dict[str, Any]) -> str | None:
    texts = (
        f"{name}={', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in filter.items()
    )
    return " ".join(texts) or None
