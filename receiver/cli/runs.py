"""`runs`: list, replay, cancel; `runs errors` has a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import (
    After,
    All,
    Before,
    Config,
    Csv,
    ErrorKind,
    ErrorText,
    Handler,
    Job,
    Json,
    Limit,
    Metadata,
    Oldest,
    Reason,
    Since,
    Source,
    Type,
    Until,
    Yes,
    check_choice,
    event_filter,
)
from receiver.cli.output import CONTINUES, REPEAT, REPEAT_AFTER, format_time
from receiver.cli.run_errors import errors
from receiver.cli.text_output import echo, echo_error
from receiver.model.audit import AuditOperation
from receiver.model.ids import time_of_id
from receiver.store.states import ENDED_STATES, OPEN_STATES, RunState

if TYPE_CHECKING:
    from receiver.cli.run_changes import Key
    from receiver.store.database import Database
    from receiver.store.error_search import ErrorMatches
    from receiver.store.event_pages import Filter

app = typer.Typer(no_args_is_help=True, help="Runs: one handler's work on one event.")
app.command()(errors)

STATES = tuple(str(state) for state in RunState)
_State = Annotated[str | None, typer.Option("--state", help=f"Only in this state: {', '.join(STATES)}.")]
_Event = Annotated[str | None, typer.Argument(help="The event's id, or a unique prefix.")]


def _filter(
    source: str | None, type_: str | None, state: str | None, job: str | None, handler: str | None,
    since: str | None, until: str | None, error_kind: str | None, reason: str | None,
    metadata: list[str] | None,
) -> Filter:  # fmt: skip
    filter = event_filter(source, type_, None, job, since, until, error_kind, reason, metadata)
    return replace(filter, state=check_choice(state, STATES, "--state"), handler=handler)


@app.command("list")
def list_(
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    state: _State = None,
    job: Job = None,
    handler: Handler = None,
    error_kind: ErrorKind = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    metadata: Metadata = None,
    error_text: ErrorText = None,
    oldest: Oldest = False,
    before: Before = None,
    limit: Limit = 50,
    all_: All = False,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """List runs, those of the newest events first, or of the oldest. Dead letters: --state dead."""
    from receiver.cli.event_lists import runs_listing
    from receiver.cli.ids import find_position, resolve_ids
    from receiver.cli.lists import Page, Request, counter, list_format, list_order, print_list
    from receiver.cli.session import check_handler, check_names, hint_unknown_error, open_session
    from receiver.store import error_search, views

    format, order = list_format(json, csv), list_order(oldest)
    filter = _filter(source, type_, state, job, handler, since, until, error_kind, reason, metadata)
    words = _check_words(error_text, state)
    if words is not None and oldest:
        raise typer.BadParameter("errors are searched the newest first.", param_hint="--oldest")
    search = _Search()
    with open_session(config) as (settings, database):
        check_names(settings, database, source, type_, filter.metadata)
        filter = resolve_ids(database, filter)

        def read(before: str | None, limit: int) -> Page:
            part = replace(filter, **order.beyond(before))
            if words is None:
                return Page(*database.query_list(views.page_of_runs, part, limit, order))
            found = database.query_list(error_search.search_runs, part, words, limit)
            search.add(found)
            return Page(found.rows, found.stopped_at)

        def ids_before(before: str, limit: int) -> list[str]:
            part = replace(filter, **order.beyond(before))
            return database.query_list(views.events_with_runs, part, limit, order)

        begin = find_position(database, before)
        request = Request(format, None if all_ else limit, begin, one_page=words is not None and not all_)
        listing = runs_listing(database, settings, lambda: {"examined": search.examined if words else None})
        more = counter(ids_before, "those of {} more events") if words is None else None
        if not print_list(listing, read, request, more):
            check_handler(settings, handler)
            hint_unknown_error(database, filter)
    if words is not None:
        say = echo if format.is_for_people else echo_error
        say(search.extent())


class _Search:
    """How far the search of errors went."""

    def __init__(self) -> None:
        self.examined = 0
        self._stopped_at: str | None = None

    def add(self, found: ErrorMatches) -> None:
        """Count what one page read."""
        self.examined += found.examined
        self._stopped_at = found.stopped_at

    def extent(self) -> str:
        """How far it went, and how to continue it."""
        if self._stopped_at is None:
            return f"The errors of all {self.examined:,} matching dead runs were read."
        at = time_of_id(self._stopped_at)
        back = "" if at is None else f", back to {format_time(at)}"
        return (
            f"The errors of {self.examined:,} dead runs were read{back}. To continue, repeat it with --before "
            f"{self._stopped_at}."
        )


def _check_words(text: str | None, state: str | None) -> str | None:
    """The words to search the errors of dead runs for.

    Raises:
        typer.BadParameter: there are none, they are too long, or the runs are not dead.
    """
    from receiver.store.error_search import MAX_CHARACTERS

    if text is None:
        return None
    if not text.strip() or len(text) > MAX_CHARACTERS:
        raise typer.BadParameter(f"give 1 to {MAX_CHARACTERS} characters.", param_hint="--error-text")
    if state not in (None, RunState.DEAD):
        raise typer.BadParameter(
            f"searches the errors of dead runs, not of those that are {state}.", param_hint="--error-text"
        )
    return text


@app.command()
def replay(
    event: _Event = None,
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    state: _State = None,
    job: Job = None,
    handler: Handler = None,
    error_kind: ErrorKind = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    metadata: Metadata = None,
    after: After = None,
    yes: Yes = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait until they have run, and say how they ended; exit 1 if not all succeed."),
    ] = False,
) -> None:
    """Make finished runs due again, with all their attempts: those of one event, or all that match the filters."""
    from receiver.cli.run_changes import RunAction, change_runs
    from receiver.store import runs

    filter = _filter(source, type_, state, job, handler, since, until, error_kind, reason, metadata)
    filter = replace(filter, newer_than=after)

    def report(database: Database, changed: Sequence[Key]) -> None:
        _report_due(database, changed)
        if wait and changed:
            from receiver.cli.run_waiting import wait_for_runs

            wait_for_runs(database, changed)

    operation = AuditOperation.REPLAY_RUNS
    hint = REPEAT if event else REPEAT_AFTER
    action = RunAction("Replay", "Runs due", "replayed", operation, ENDED_STATES, runs.replay, hint, report)
    change_runs(config, event, filter, yes, action)


@app.command()
def cancel(
    event: _Event = None,
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    state: _State = None,
    job: Job = None,
    handler: Handler = None,
    error_kind: ErrorKind = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    metadata: Metadata = None,
    yes: Yes = False,
) -> None:
    """Cancel open runs: those of one event, or all that match. A running handler is stopped within a lease."""
    from receiver.cli.run_changes import RunAction, change_runs
    from receiver.store import runs

    filter = _filter(source, type_, state, job, handler, since, until, error_kind, reason, metadata)
    operation, report = AuditOperation.CANCEL_RUNS, _report_cancelled
    action = RunAction("Cancel", "Runs cancelled", "cancelled", operation, OPEN_STATES, runs.cancel, CONTINUES, report)
    change_runs(config, event, filter, yes, action)


@app.command("retry-now")
def retry_now(
    event: _Event = None,
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    job: Job = None,
    handler: Handler = None,
    error_kind: ErrorKind = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    metadata: Metadata = None,
    yes: Yes = False,
) -> None:
    """Make pending runs due now, without their wait: those of one event, or all that match. Attempts count."""
    from receiver.cli.run_changes import RunAction, change_runs
    from receiver.store import runs

    filter = _filter(source, type_, None, job, handler, since, until, error_kind, reason, metadata)
    operation, states = AuditOperation.RETRY_RUNS, (RunState.PENDING,)
    action = RunAction("Retry now", "Runs due", "retried", operation, states, runs.retry_now, CONTINUES, _report_due)
    change_runs(config, event, filter, yes, action)


def _report_cancelled(database: Database, changed: Sequence[Key]) -> None:
    echo(f"Runs cancelled: {len(changed):,}.")


def _report_due(database: Database, changed: Sequence[Key]) -> None:
    echo(f"Runs due: {len(changed):,}; a running receiver starts them within a second." if changed else "Runs due: 0.")
