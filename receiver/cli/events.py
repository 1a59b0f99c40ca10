"""`events`: list, show, replay, release."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import (
    After,
    Config,
    EventState,
    Job,
    Json,
    Limit,
    Since,
    Source,
    Type,
    Until,
    Yes,
    check_event_id,
    event_filter,
)
from receiver.cli.output import cell, confirm, console, format_time, print_table, with_iso_times
from receiver.cli.text_output import echo, echo_error, print_json
from receiver.errors import NotFound, ReceiverError
from receiver.model.crashes import state_with_suspicion

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from receiver.engine.pacing import PacedWriter
    from receiver.engine.plugins import Registry
    from receiver.engine.replay import Outcome
    from receiver.settings import Settings
    from receiver.store.event_pages import Filter

app = typer.Typer(no_args_is_help=True, help="Events: what providers reported.")

_Ids = Annotated[list[str] | None, typer.Argument(help="Event ids, or unique prefixes of them.")]


@app.command("list")
def list_(
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    state: EventState = None,
    job: Job = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List events, newest first."""
    from receiver.cli.session import check_names, open_session
    from receiver.store import views

    which = event_filter(source, type_, state, job, since, until)
    with open_session(config) as (settings, database):
        check_names(settings, database, source, type_)
        rows = database.query_list(views.list_events, which, limit)
    if json:
        print_json([with_iso_times(row, "received_at") for row in rows])
        return
    print_table(
        f"Events: {len(rows)}" + (f" (the newest {limit}; --limit shows more)" if len(rows) == limit else ""),
        ["event", "received", "source", "type", "job", "state", "dup", "conflict"],
        [
            (
                row["id"], format_time(row["received_at"]), row["source"], row["type"], row["job_id"], row["state"],
                row["duplicates"] or None, row["conflict"],
            )
            for row in rows
        ],
    )  # fmt: skip


@app.command()
def show(
    event: Annotated[str, typer.Argument(help="The event's id, or a unique prefix.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Show everything about one event."""
    from receiver.cli.session import find_event_id, open_session
    from receiver.engine.replay import reverify
    from receiver.model.json_body import document_of
    from receiver.store import views

    with open_session(config) as (settings, database):
        found = database.query(views.get_event, find_event_id(database, event))
        if found is None:  # pruned since it was looked up
            raise NotFound(f"There is no event {event}.")
        try:
            found["signature"] = (
                "holds" if reverify(settings, found) else "cannot be told (key retired, or not a webhook)"
            )
        except ReceiverError as error:
            found["signature"] = str(error)
    times = {
        "runs": ("due_at", "lease_until", "started_at", "finished_at"),
        "attempts": ("started", "ended"),
        "artifacts": ("fetched_at",),
    }
    if json:
        found["document"] = document_of(found["body"])
        for name, fields in times.items():
            found[name] = [with_iso_times(row, *fields) for row in found[name]]
        print_json(with_iso_times(found, "received_at"))
        return
    out = console()
    for name in (
        "id",
        "source",
        "type",
        "job_id",
        "state",
        "origin",
        "key_id",
        "skew",
        "duplicates",
        "conflict",
        "signature",
    ):
        out.print(f"[bold]{name:<11}[/] {cell(found[name])}")
    out.print(f"[bold]{'received':<11}[/] {format_time(found['received_at'])}")
    out.print(f"[bold]{'body':<11}[/] {cell(found['body'].decode('utf-8', 'backslashreplace'))}")
    print_table(
        "runs",
        ["handler", "state", "attempts", "due", "started", "finished", "result", "error"],
        [
            (
                row["handler"], state_with_suspicion(row["state"], row["crashes"]), row["attempt"] - row["forgiven"],
                format_time(row["due_at"]), format_time(row["started_at"]), format_time(row["finished_at"]),
                row["result"], row["error"],
            )
            for row in found["runs"]
        ],
    )  # fmt: skip
    if found["attempts"]:
        print_table(
            "attempts",
            ["handler", "number", "started", "seconds", "outcome", "error"],
            [
                (
                    row["handler"],
                    row["number"],
                    format_time(row["started"]),
                    f"{row['ended'] - row['started']:.3f}",
                    row["outcome"],
                    row["error"],
                )
                for row in found["attempts"]
            ],
        )
    if found["artifacts"]:
        print_table(
            "audio",
            ["address", "bytes", "sha256", "format", "duration s", "rate Hz", "channels"],
            [
                (
                    row["address"],
                    row["bytes"],
                    row["sha256"],
                    row["format"],
                    row["duration"],
                    row["sample_rate"],
                    row["channels"],
                )
                for row in found["artifacts"]
            ],
        )


@app.command()
def replay(
    events: _Ids = None,
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    state: EventState = None,
    job: Job = None,
    since: Since = None,
    until: Until = None,
    after: After = None,
    handler: Annotated[list[str] | None, typer.Option("--handler", help="Only this handler; repeatable.")] = None,
    yes: Yes = False,
) -> None:
    """Run the handlers of events again: the named events, or all that match the filters, oldest first."""
    from receiver.engine.replay import replay_events

    which = event_filter(source, type_, state, job, since, until)
    which = replace(which, newer_than=check_event_id(after, "--after"))
    only = handler or []

    def change(connection: Connection, settings: Settings, registry: Registry, ids: Sequence[str]) -> list[Outcome]:
        return replay_events(connection, settings, registry, ids, only, time.time())

    def resume_hint(last: str) -> str:
        return (
            f"To continue, name the events after {last}." if events else f"To continue, repeat it with --after {last}."
        )

    _change_each(config, events, which, only, yes, _BulkAction("replay", "replayed", change, resume_hint))


@app.command()
def release(
    events: _Ids = None,
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    job: Job = None,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
) -> None:
    """Take events out of quarantine and dispatch them: the named ones, or all that match the filters."""
    from receiver.engine.replay import release_events

    which = event_filter(source, type_, None, job, since, until)
    if which != event_filter(None, None, None, None, None, None):
        which = replace(which, state="quarantined")

    def change(connection: Connection, settings: Settings, registry: Registry, ids: Sequence[str]) -> list[Outcome]:
        return release_events(connection, settings, registry, ids, time.time())

    def resume_hint(last: str) -> str:
        return f"To continue, name the events after {last}." if events else "The same command continues with the rest."

    _change_each(config, events, which, [], yes, _BulkAction("release", "released", change, resume_hint))


@dataclass(frozen=True, slots=True)
class _BulkAction:
    """A change of many events.

    Attributes:
        word, past: for the messages.
        change: changes some of them in one transaction.
        resume_hint: how to continue after a stop, given the last event that was changed.
    """

    word: str
    past: str
    change: Callable[[Connection, Settings, Registry, Sequence[str]], list[Outcome]]
    resume_hint: Callable[[str], str]


def _change_each(
    config: Any, named: list[str] | None, which: Filter, only: list[str], yes: bool, verb: _BulkAction
) -> None:
    """Change each event, and print a line for each after its commit."""
    from receiver.cli import matching
    from receiver.cli.bulk_changes import run_in_batches
    from receiver.cli.session import check_names, find_event_id, open_session
    from receiver.engine.filters import check_handlers
    from receiver.engine.plugins import load_registry
    from receiver.store.event_pages import Filter

    if named and which != Filter():
        raise typer.BadParameter("Name events or filter them, not both.")
    if not named and which == Filter():
        raise typer.BadParameter(f"Name events, or filter them; `events {verb.word} --since 365d` selects all of them.")
    with open_session(config) as (settings, database):
        registry = load_registry(settings)
        check_handlers(only, registry.active)
        ids = list(dict.fromkeys(find_event_id(database, name) for name in named or ()))
        if not named:
            check_names(settings, database, which.source, which.type)
            which = matching.up_to_now(database, which)
            number = matching.count(matching.event_ids(database, which))
            echo(f"Matching events: {matching.format_count(number)}.")
            if not number:
                return
            confirm(f"{verb.word.capitalize()} {matching.format_count(number)} events?", yes)
        last, succeeded, failed, due = "", 0, 0, 0

        def change(connection: Connection, some: Sequence[str]) -> list[Outcome]:
            return verb.change(connection, settings, registry, some)

        def note(outcomes: list[Outcome]) -> None:
            nonlocal last, succeeded, failed, due
            last = outcomes[-1].event_id
            failed += sum(outcome.error is not None for outcome in outcomes)
            succeeded += sum(outcome.error is None for outcome in outcomes)
            due += sum(len(outcome.handlers) for outcome in outcomes)
            for event_id, handlers, error in outcomes:
                if error is not None:
                    echo_error(f"✗ {error}")
                else:
                    names = ", ".join(handlers) or "nothing to run (no handler subscribes, or its runs are still open)"
                    echo(f"{event_id}: {names}")

        async def work(paced: PacedWriter) -> None:
            await paced.write(change, ids, note)
            if not named:
                async for page in matching.pages_of_events(paced, which):
                    await paced.write(change, page, note)

        def done() -> str:
            refused = f", refused: {failed:,}" if failed else ""
            return f"Events {verb.past}: {succeeded:,}{refused}, runs due: {due:,}"

        def resume_hint() -> str:
            return verb.resume_hint(last) if last else "Repeat the command."

        run_in_batches(database, work, done, resume_hint, nullcontext())  # the lines show the progress
        echo(f"Runs due: {due}; a running receiver starts them within a second.")
        if failed:
            raise typer.Exit(1)
