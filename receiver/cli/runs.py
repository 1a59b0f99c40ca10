"""`runs`: list, replay, cancel; `runs errors` has a module of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
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
    Reason,
    Since,
    Source,
    Type,
    Until,
    Yes,
    check_choice,
    event_filter,
)
from receiver.cli.output import confirm, format_time
from receiver.cli.run_errors import errors
from receiver.cli.text_output import echo, echo_error
from receiver.model.audit import AuditOperation
from receiver.model.ids import time_of_id
from receiver.store.states import ENDED_STATES, OPEN_STATES, RunState

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from receiver.engine.batch_writer import BatchWriter
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
    before: Before = None,
    limit: Limit = 50,
    all_: All = False,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """List runs, those of the newest events first. Dead letters: --state dead."""
    from receiver.cli.event_lists import runs_listing
    from receiver.cli.ids import find_position, resolve_ids
    from receiver.cli.lists import Page, Request, counter, list_format, print_list
    from receiver.cli.session import check_handler, check_names, open_session
    from receiver.store import error_search, views

    format = list_format(json, csv)
    filter = _filter(source, type_, state, job, handler, since, until, error_kind, reason, metadata)
    words = _check_words(error_text, state)
    search = _Search()
    with open_session(config) as (settings, database):
        check_names(settings, database, source, type_, filter.metadata)
        filter = resolve_ids(database, filter)

        def read(before: str | None, limit: int) -> Page:
            part = replace(filter, older_than=before)
            if words is None:
                return Page(*database.query_list(views.page_of_runs, part, limit))
            found = database.query_list(error_search.search_runs, part, words, limit)
            search.add(found)
            return Page(found.rows, found.stopped_at)

        def ids_before(before: str, limit: int) -> list[str]:
            return database.query_list(views.events_with_runs, replace(filter, older_than=before), limit)

        begin = find_position(database, before)
        request = Request(format, None if all_ else limit, begin, one_page=words is not None and not all_)
        listing = runs_listing(database, settings, lambda: {"examined": search.examined if words else None})
        more = counter(ids_before, "those of {} more events") if words is None else None
        if not print_list(listing, read, request, more):
            check_handler(settings, handler)
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
) -> None:
    """Make finished runs due again, with all their attempts: those of one event, or all that match the filters."""
    from receiver.store import runs

    filter = _filter(source, type_, state, job, handler, since, until, error_kind, reason, metadata)
    filter = replace(filter, newer_than=after)

    def resume_hint(last: str) -> str:
        return "Repeat the command." if event else f"To continue, repeat it with --after {last}."

    done = _change_each(
        config,
        event,
        filter,
        yes,
        _BulkAction(
            "Replay", "Runs due", "replayed", AuditOperation.REPLAY_RUNS, ENDED_STATES, runs.replay, resume_hint
        ),
    )
    echo(f"Runs due: {done:,}; a running receiver starts them within a second.")


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
    from receiver.store import runs

    filter = _filter(source, type_, state, job, handler, since, until, error_kind, reason, metadata)

    def resume_hint(last: str) -> str:
        return "The same command continues with the rest."

    done = _change_each(
        config,
        event,
        filter,
        yes,
        _BulkAction(
            "Cancel", "Runs cancelled", "cancelled", AuditOperation.CANCEL_RUNS, OPEN_STATES, runs.cancel, resume_hint
        ),
    )
    echo(f"Runs cancelled: {done:,}.")


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
    from receiver.store import runs

    filter = _filter(source, type_, None, job, handler, since, until, error_kind, reason, metadata)

    def resume_hint(last: str) -> str:
        return "The same command continues with the rest."

    pending = (RunState.PENDING,)
    done = _change_each(
        config,
        event,
        filter,
        yes,
        _BulkAction(
            "Retry now", "Runs due", "retried", AuditOperation.RETRY_RUNS, pending, runs.retry_now, resume_hint
        ),
    )
    echo(f"Runs due: {done:,}; a running receiver starts them within a second.")


@dataclass(frozen=True, slots=True)
class _BulkAction:
    """A change of many runs.

    Attributes:
        verb, past, participle: for the messages, such as `Cancel`, `Runs cancelled` and `cancelled`.
        operation: its name in the audit log.
        states: of the runs that it can change; the first is the example in a message.
        change: changes some runs, (event id, handler), in one transaction; returns those that it changed.
        resume_hint: how to continue after a stop, given the last event that was changed.
    """

    verb: str
    past: str
    participle: str
    operation: AuditOperation
    states: tuple[RunState, ...]
    change: Callable[[Connection, list[tuple[str, str]], float], list[tuple[str, str]]]
    resume_hint: Callable[[str], str]

    @property
    def example(self) -> str:
        """A filter, for a message."""
        return f"--state {self.states[0]}" if len(self.states) > 1 else "--handler NAME"


class _Progress:
    """Counts what is committed, and shows it."""

    def __init__(self, action: _BulkAction) -> None:
        from receiver.cli.bulk_changes import StatusLine

        self._action = action
        self._last = ""
        self.changed = 0
        self.status = StatusLine(action.verb)

    def add(self, committed: tuple[str, int]) -> None:
        self._last, changed = committed
        self.changed += changed
        self.status.update(self.summary())

    def summary(self) -> str:
        """See `BulkProgress.summary`."""
        return f"{self._action.past}: {self.changed:,}"

    def resume_hint(self) -> str:
        """See `BulkProgress.resume_hint`."""
        return self._action.resume_hint(self._last) if self._last else "Repeat the command."


def _change_each(config: Path | None, event: str | None, filter: Filter, yes: bool, action: _BulkAction) -> int:
    """Change each run; return how many were changed."""
    from receiver.cli import counting
    from receiver.cli.bulk_changes import run_in_batches
    from receiver.cli.ids import find_event_id, resolve_ids
    from receiver.cli.recording import auditor
    from receiver.cli.session import check_handler, check_names, open_session
    from receiver.engine import matching
    from receiver.store.event_pages import Filter

    if event is None and filter == Filter():
        raise typer.BadParameter(f"Name an event, or filter the runs, as in {action.example}.")
    if filter.state is not None and filter.state not in action.states:
        *others, last = action.states
        raise typer.BadParameter(
            f"--state: a run that is {filter.state} cannot be {action.participle}; "
            f"one that is {', '.join(others)} or {last} can."
        )
    with open_session(config) as (settings, database):
        check_names(settings, database, filter.source, filter.type, filter.metadata)
        if event is not None:
            filter = replace(filter, event_id=find_event_id(database, event))
        filter = resolve_ids(database, filter)
        described = matching.describe_filter(filter)
        states = tuple(state for state in action.states if filter.state in (None, state))
        filter = counting.up_to_now(database, filter)
        number = counting.count(counting.runs(database, filter, states))
        if not number:
            check_handler(settings, filter.handler)
        echo(f"Matching runs: {matching.format_count(number)}.")
        if not number:
            return 0
        if event is None:
            confirm(f"{action.verb} {matching.format_count(number)} runs?", yes)
        progress = _Progress(action)

        def change(connection: Connection, by_event: Sequence[list[tuple[str, str]]]) -> tuple[str, int]:
            keys = [key for keys_of_event in by_event for key in keys_of_event]
            return keys[-1][0], len(action.change(connection, keys, time.time()))

        async def work(writer: BatchWriter) -> None:
            async for page in matching.pages_of_runs(writer, filter, states):
                await writer.write(change, page, progress.add)

        recorder = auditor(settings, action.operation).bulk(**described)
        run_in_batches(database, recorder, itemgetter(1), work, progress, progress.status.shown)
        return progress.changed
