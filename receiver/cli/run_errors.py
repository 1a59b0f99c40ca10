"""`runs errors`: why runs failed, in groups."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli import output
from receiver.cli.options import (
    Config,
    Csv,
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
from receiver.cli.text_output import echo, echo_error, print_model
from receiver.store.states import RunState

if TYPE_CHECKING:
    from receiver.store.run_errors import ErrorGroup, ErrorGroups

MAX_GROUPS = 1000
DEAD = str(RunState.DEAD)
WORDS = {
    "dead": "dead runs",
    "cancelled": "cancelled runs",
    "pending": "pending runs that have failed",
    "running": "running runs that have failed",
}
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
    csv: Csv = False,
) -> None:
    """Count failed runs by handler, kind of error and reason: the largest groups first, each with an example."""
    from receiver.cli.event_lists import run_errors_listing
    from receiver.cli.lists import Format, list_format, print_rows
    from receiver.cli.session import check_handler, check_names, hint_unknown_error, open_session
    from receiver.model.redact import Redactor
    from receiver.store.run_errors import error_groups
    from receiver.web.api.models import run_errors_of

    format = list_format(json, csv)
    filter = event_filter(source, type_, None, None, since, until, error_kind, reason, metadata)
    filter = replace(filter, state=check_choice(state, STATES, "--state"), handler=handler)
    with open_session(config) as (settings, database):
        check_names(settings, database, source, type_, filter.metadata)
        found = database.query_list(error_groups, filter, limit)
        if not found.largest:
            check_handler(settings, handler)
            hint_unknown_error(database, filter)
        redact = Redactor(settings.secrets())
        if format is Format.JSON:
            print_model(run_errors_of(found, redact))
        elif format is Format.TABLE and not found.largest:
            echo(f"No {WORDS[state]} match.")
        else:
            print_rows(run_errors_listing(database, redact), found.largest, format)
            _print_more(found, state, echo if format.is_for_people else echo_error)


def _print_more(found: ErrorGroups, state: str, say: Callable[[str], None]) -> None:
    """How many there are in all, and what to do."""
    hidden = found.groups - len(found.largest)
    more = f" (the largest {len(found.largest)}; --limit shows more)" if hidden else ""
    say(f"{WORDS[state].capitalize()}: {found.runs:,}, in {found.groups:,} group{'s' * (found.groups != 1)}{more}")
    if found.largest:
        say("Show an example:    tts-receiver events show EXAMPLE")
    if found.largest and state in (RunState.DEAD, RunState.CANCELLED):
        for line in _command_lines(
            "Replay the largest:", ["tts-receiver runs replay", *_options(found.largest[0], state)]
        ):
            say(line)


def _options(group: ErrorGroup, state: str) -> list[str]:
    """The filter that has the runs of the group, as a shell reads it."""
    named = {"state": state, "handler": group.handler, "error-kind": group.error_kind, "reason": group.reason}
    return [f"--{name} {shlex.quote(value or '')}" for name, value in named.items()]


def _command_lines(title: str, words: list[str]) -> list[str]:
    """A command behind its title. On a terminal that is too narrow it is below, in lines that a shell reads as one."""
    line, terminal = f"{title} {' '.join(words)}", output.terminal()
    if terminal is None or len(line) <= terminal.width:
        return [line]
    lines = [f"  {words[0]}"]
    for word in words[1:]:
        if len(f"{lines[-1]} {word} \\") <= terminal.width:
            lines[-1] += f" {word}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {word}")
    return [title, *lines]
