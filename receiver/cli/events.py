"""`events`: list, show, replay, release; `events tail` and `events edit` have modules of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.event_editing import edit
from receiver.cli.event_tail import tail
from receiver.cli.options import (
    ORIGINS,
    After,
    All,
    Before,
    Config,
    Csv,
    ErrorKind,
    EventOrigin,
    EventState,
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
from receiver.cli.output import CONTINUES, NAME_THE_REST, REPEAT, REPEAT_AFTER, confirm
from receiver.cli.text_output import echo, echo_error, print_model
from receiver.errors import NotFound
from receiver.model.audit import AuditOperation

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from receiver.engine.batch_writer import BatchWriter
    from receiver.engine.plugins import Registry
    from receiver.engine.replay import ReplayResult
    from receiver.settings import Settings
    from receiver.store.event_pages import Filter

app = typer.Typer(no_args_is_help=True, help="Events: what providers reported.")
app.command()(tail)
app.command()(edit)

_Ids = Annotated[list[str] | None, typer.Argument(help="Event ids, or unique prefixes of them.")]


@app.command("list")
def list_(
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    state: EventState = None,
    job: Job = None,
    origin: EventOrigin = None,
    error_kind: ErrorKind = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    metadata: Metadata = None,
    oldest: Oldest = False,
    before: Before = None,
    limit: Limit = 50,
    all_: All = False,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """List events, the newest first, or the oldest."""
    from receiver.cli.event_lists import events_listing
    from receiver.cli.ids import find_position, resolve_ids
    from receiver.cli.lists import Request, counter, list_format, list_order, print_list, rows_by_id
    from receiver.cli.session import check_names, hint_unknown_error, open_session
    from receiver.store import views

    format, order = list_format(json, csv), list_order(oldest)
    filter = event_filter(source, type_, state, job, since, until, error_kind, reason, metadata)
    filter = replace(filter, origin=check_choice(origin, ORIGINS, "--origin"))
    with open_session(config) as (settings, database):
        check_names(settings, database, source, type_, filter.metadata)
        filter = resolve_ids(database, filter)

        def select(connection: Connection, before: str | None, limit: int) -> list[dict[str, Any]]:
            return views.list_events(connection, replace(filter, **order.beyond(before)), limit, order)

        def ids_before(before: str, limit: int) -> list[str]:
            return database.query_list(views.list_ids, replace(filter, **order.beyond(before)), limit, order)

        request = Request(format, None if all_ else limit, find_position(database, before))
        if not print_list(events_listing(database), rows_by_id(database, select), request, counter(ids_before)):
            hint_unknown_error(database, filter)


@app.command()
def show(
    event: Annotated[str | None, typer.Argument(help="The event's id, or a unique prefix.")] = None,
    config: Config = None,
    job: Job = None,
    metadata: Metadata = None,
    json: Json = False,
) -> None:
    """Show everything about one event: the named one, or the newest that matches the filters."""
    from receiver.cli.event_details import print_event, signature_note
    from receiver.cli.ids import select_event
    from receiver.cli.session import open_session
    from receiver.model.redact import Redactor
    from receiver.store import views
    from receiver.web.api.rows import event_detail_of

    filter = event_filter(None, None, None, job, None, None, metadata=metadata)
    with open_session(config) as (settings, database):
        id_ = select_event(settings, database, event, filter)
        found = database.query(views.get_event, id_)
        if found is None:  # pruned since it was looked up
            raise NotFound(f"There is no event {id_}.")
    detail = event_detail_of(found, settings, Redactor(settings.secrets()))
    if json:
        print_model(detail)
    else:
        print_event(detail, signature_note(settings, found))


@app.command()
def replay(
    events: _Ids = None,
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    state: EventState = None,
    job: Job = None,
    error_kind: ErrorKind = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    metadata: Metadata = None,
    after: After = None,
    handler: Annotated[list[str] | None, typer.Option("--handler", help="Only this handler; repeatable.")] = None,
    yes: Yes = False,
) -> None:
    """Run the handlers of events again: the named events, or all that match the filters, oldest first."""
    from receiver.engine.replay import count_due, replay_events

    filter = event_filter(source, type_, state, job, since, until, error_kind, reason, metadata)
    filter = replace(filter, newer_than=after)
    only = handler or []

    def change(
        connection: Connection, settings: Settings, registry: Registry, ids: Sequence[str]
    ) -> list[ReplayResult]:
        return replay_events(connection, settings, registry, ids, only, time.time())

    hint = NAME_THE_REST if events else REPEAT_AFTER
    action = _BulkAction("replay", "replayed", AuditOperation.REPLAY, count_due, change, hint)
    _change_each(config, events, filter, only, yes, action)


@app.command()
def release(
    events: _Ids = None,
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    job: Job = None,
    since: Since = None,
    until: Until = None,
    metadata: Metadata = None,
    yes: Yes = False,
) -> None:
    """Take events out of quarantine and dispatch them: the named ones, or all that match the filters."""
    from receiver.engine.replay import count_changed, release_events

    filter = event_filter(source, type_, None, job, since, until, metadata=metadata)
    if filter != event_filter(None, None, None, None, None, None):
        filter = replace(filter, state="quarantined")

    def change(
        connection: Connection, settings: Settings, registry: Registry, ids: Sequence[str]
    ) -> list[ReplayResult]:
        return release_events(connection, settings, registry, ids, time.time())

    hint = NAME_THE_REST if events else CONTINUES
    action = _BulkAction("release", "released", AuditOperation.RELEASE, count_changed, change, hint)
    _change_each(config, events, filter, [], yes, action)


@dataclass(frozen=True, slots=True)
class _BulkAction:
    """A change of many events.

    Attributes:
        verb, past: for the messages, such as `replay` and `replayed`.
        operation: its name in the audit log.
        count: how many of what the operation changes a batch has changed.
        change: changes some of them in one transaction.
        resume_hint: how to continue after a stop; `{last}` is the last event that was changed.
    """

    verb: str
    past: str
    operation: AuditOperation
    count: Callable[[list[ReplayResult]], int]
    change: Callable[[Connection, Settings, Registry, Sequence[str]], list[ReplayResult]]
    resume_hint: str


class _Progress:
    """Prints a line for each event once it is committed, and counts."""

    def __init__(self, action: _BulkAction) -> None:
        self._action = action
        self._last = ""
        self.succeeded = self.failed = self.due = 0

    def add(self, outcomes: list[ReplayResult]) -> None:
        self._last = outcomes[-1].event_id
        for event_id, handlers, error in outcomes:
            if error is not None:
                self.failed += 1
                echo_error(f"✗ {error}")
            else:
                self.succeeded += 1
                self.due += len(handlers)
                names = ", ".join(handlers) or "nothing to run (it is for no handler, or its runs are still open)"
                echo(f"{event_id}: {names}")

    def summary(self) -> str:
        """See `BulkProgress.summary`."""
        refused = f", refused: {self.failed:,}" if self.failed else ""
        return f"Events {self._action.past}: {self.succeeded:,}{refused}, runs due: {self.due:,}"

    def resume_hint(self) -> str:
        """See `BulkProgress.resume_hint`."""
        return self._action.resume_hint.format(last=self._last) if self._last else REPEAT


def _change_each(
    config: Path | None, named: list[str] | None, filter: Filter, only: list[str], yes: bool, action: _BulkAction
) -> None:
    """Change each event.

    Args:
        named: ids, or unique prefixes; else all events that match the filter.
        only: handlers' names; empty for all.
    """
    from receiver.cli import counting
    from receiver.cli.bulk_changes import run_in_batches
    from receiver.cli.ids import find_event_id, resolve_ids
    from receiver.cli.recording import auditor
    from receiver.cli.session import check_names, hint_unknown_error, open_session
    from receiver.engine import matching
    from receiver.engine.filters import check_handlers
    from receiver.engine.plugins import load_registry

    _check_selection(named, filter, action.verb)
    with open_session(config) as (settings, database):
        registry = load_registry(settings)
        check_handlers(only, registry.active)
        ids = list(dict.fromkeys(find_event_id(database, name) for name in named or ()))
        filter = resolve_ids(database, filter)
        described = matching.describe_filter(filter)
        if not named:
            check_names(settings, database, filter.source, filter.type, filter.metadata)
            filter = counting.up_to_now(database, filter)
            number = counting.count(counting.event_ids(database, filter))
            echo(f"Matching events: {matching.format_count(number)}.")
            if not number:
                hint_unknown_error(database, filter)
                return
            confirm(f"{action.verb.capitalize()} {matching.format_count(number)} events?", yes)
        progress = _Progress(action)
        recorder = auditor(settings, action.operation).bulk(events=ids, handlers=only, **described)

        def change(connection: Connection, some: Sequence[str]) -> list[ReplayResult]:
            return action.change(connection, settings, registry, some)

        async def work(writer: BatchWriter) -> None:
            await writer.write(change, ids, progress.add)
            if not named:
                async for page in matching.pages_of_events(writer, filter):
                    await writer.write(change, page, progress.add)

        run_in_batches(database, recorder, action.count, work, progress, nullcontext())  # the lines show the progress
        echo(f"Runs due: {progress.due:,}; a running receiver starts them within a second.")
        if progress.failed:
            raise typer.Exit(1)


def _check_selection(named: list[str] | None, filter: Filter, verb: str) -> None:
    """Require that events are either named or filtered, so that no command changes all of them by accident."""
    from receiver.store.event_pages import Filter

    if named and filter != Filter():
        raise typer.BadParameter("Name events or filter them, not both.")
    if not named and filter == Filter():
        raise typer.BadParameter(f"Name events, or filter them; `events {verb} --since 365d` selects all of them.")
