"""`runs errors`: why runs failed, in groups."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import (
    Config,
    ErrorKind,
    Handler,
    Json,
    Metadata,
    Reason,
    Since,
    Source,
    Type,
    Until,
    check_choice,
    event_filter,
)
from receiver.cli.output import format_time, print_table
from receiver.cli.text_output import echo, print_json
from receiver.store.states import RunState

if TYPE_CHECKING:
    from receiver.store.run_errors import ErrorGroup, ErrorGroups

MAX_GROUPS = 1000
DEAD = str(RunState.DEAD)
STATES = tuple(str(state) for state in RunState if state is not RunState.SUCCEEDED)


def errors(
    config: Config = None,
    state: Annotated[str, typer.Option("--state", help=f"Of runs in this state: {', '.join(STATES)}.")] = DEAD,
    handler: Handler = None,
    source: Source = None,
    type_: Type = None,
    error_kind: ErrorKind = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    metadata: Metadata = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_GROUPS, help="At most this many groups.")] = 20,
    json: Json = False,
) -> None:
    """Count failed runs by handler, kind of error and reason: the largest groups first, each with an example."""
    from receiver.cli.session import check_handler, check_names, open_session
    from receiver.model.redact import Redactor
    from receiver.store.run_errors import error_groups

    filter = event_filter(source, type_, None, None, since, until, error_kind, reason, metadata)
    filter = replace(filter, state=check_choice(state, STATES, "--state"), handler=handler)
    with open_session(config) as (settings, database):
        check_names(settings, database, source, type_, filter.metadata)
        found = database.query_list(error_groups, filter, limit)
        if not found.largest:
            check_handler(settings, handler)
    if json:
        from receiver.web.api.models import run_errors_of

        print_json(run_errors_of(found, Redactor(settings.secrets())).model_dump(mode="json"))
    else:
        _print(found, state)


def _print(found: ErrorGroups, state: str) -> None:
    if not found.largest:
        echo(f"No failed runs that are {state} match.")
        return
    print_table(
        f"Failed runs that are {state}: {found.runs:,}, in {found.groups:,} groups"
        + (f" (the largest {len(found.largest)}; --limit shows more)" if found.groups > len(found.largest) else ""),
        ["runs", "handler", "error kind", "reason", "first", "last", "example", "error"],
        [
            (
                f"{group.count:,}", group.handler, group.error_kind, group.reason, format_time(group.first_at),
                format_time(group.last_at), group.event_id, group.error,
            )
            for group in found.largest
        ],
    )  # fmt: skip
    echo("", "Show an example:    tts-receiver events show EVENT")
    if state in (RunState.DEAD, RunState.CANCELLED):
        echo(f"Replay the largest: tts-receiver runs replay {_options(found.largest[0], state)}")


def _options(group: ErrorGroup, state: str) -> str:
    """The filter that has the runs of the group, as a shell reads it."""
    named = {"state": state, "handler": group.handler, "error-kind": group.error_kind, "reason": group.reason}
    return " ".join(f"--{name} {shlex.quote(value or '')}" for name, value in named.items())
