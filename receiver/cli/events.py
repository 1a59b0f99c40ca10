"""`events`: list, show, replay, release."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import Config, EventState, Job, Json, Limit, Since, Source, Type, Until, Yes, event_filter
from receiver.cli.output import cell, confirm, console, iso, print_table, when
from receiver.cli.plain import complain, print_json, say
from receiver.errors import NotFound, ReceiverError
from receiver.model.crashes import state_with_suspicion

if TYPE_CHECKING:
    from receiver.store.event_pages import Filter

app = typer.Typer(no_args_is_help=True, help="Events: what providers reported.")

_Ids = Annotated[list[str] | None, typer.Argument(help="Event ids, or beginnings of them.")]


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
    from receiver.cli.opening import check_names, opened
    from receiver.store import views

    which = event_filter(source, type_, state, job, since, until)
    with opened(config) as (settings, database):
        check_names(settings, database, source, type_)
        rows = database.query_list(views.list_events, which, limit)
    if json:
        print_json([iso(row, "received_at") for row in rows])
        return
    print_table(
        f"Events: {len(rows)}" + (f" (the newest {limit}; --limit shows more)" if len(rows) == limit else ""),
        ["event", "received", "source", "type", "job", "state", "dup", "conflict"],
        [
            (
                row["id"], when(row["received_at"]), row["source"], row["type"], row["job_id"], row["state"],
                row["duplicates"] or None, row["conflict"],
            )
            for row in rows
        ],
    )  # fmt: skip


@app.command()
def show(
    event: Annotated[str, typer.Argument(help="The event's id, or its beginning.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Show everything about one event."""
    from receiver.cli.opening import one_event, opened
    from receiver.engine.replay import reverify
    from receiver.model.json_body import document_of
    from receiver.store import views

    with opened(config) as (settings, database):
        found = database.query(views.get_event, one_event(database, event))
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
            found[name] = [iso(row, *fields) for row in found[name]]
        print_json(iso(found, "received_at"))
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
    out.print(f"[bold]{'received':<11}[/] {when(found['received_at'])}")
    out.print(f"[bold]{'body':<11}[/] {cell(found['body'].decode('utf-8', 'backslashreplace'))}")
    print_table(
        "runs",
        ["handler", "state", "attempts", "due", "started", "finished", "result", "error"],
        [
            (
                row["handler"], state_with_suspicion(row["state"], row["crashes"]), row["attempt"] - row["forgiven"],
                when(row["due_at"]), when(row["started_at"]), when(row["finished_at"]), row["result"], row["error"],
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
                    when(row["started"]),
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
    handler: Annotated[list[str] | None, typer.Option("--handler", help="Only this handler; repeat it.")] = None,
    yes: Yes = False,
) -> None:
    """Run the handlers of events again: those named, or all that fit the filters."""
    which = event_filter(source, type_, state, job, since, until)
    _each(config, events, which, handler or [], yes, release=False)


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
    """Take events out of quarantine and dispatch them: those named, or all that fit the filters."""
    which = event_filter(source, type_, None, job, since, until)
    _each(config, events, which, [], yes, release=True)


def _each(config: Any, named: list[str] | None, which: Filter, only: list[str], yes: bool, *, release: bool) -> None:
    from receiver.cli import matching
    from receiver.cli.opening import check_names, one_event, opened
    from receiver.engine.filters import check_handlers
    from receiver.engine.plugins import load_registry
    from receiver.engine.replay import release_event, replay_event
    from receiver.store.event_pages import Filter

    verb = "release" if release else "replay"
    if named and which != Filter():
        raise typer.BadParameter("Name events, or filter them, but not both.")
    if not named and which == Filter():
        raise typer.BadParameter(f"Name events, or filter them; `events {verb} --since 365d` means them all.")
    with opened(config) as (settings, database):
        registry = load_registry(settings)
        check_handlers(only, registry.active)
        if named:
            ids: Iterable[str] = [one_event(database, name) for name in named]
        else:
            check_names(settings, database, which.source, which.type)
            if release:
                which = replace(which, state="quarantined")
            which = matching.up_to_now(database, which)
            number = matching.count(matching.event_ids(database, which))
            say(f"Matching events: {matching.shown(number)}.")
            if not number:
                return
            confirm(f"{verb.capitalize()} {matching.shown(number)} events?", yes)
            ids = matching.event_ids(database, which)
        failed = started = 0
        for event_id in ids:
            try:
                if release:
                    names = database.transact(release_event, settings, registry, event_id, time.time())
                else:
                    names = database.transact(replay_event, settings, registry, event_id, only, time.time())
            except ReceiverError as error:
                failed += 1
                complain(f"✗ {error}")
                continue
            started += len(names)
            say(f"{event_id}: {', '.join(names) or 'nothing to run (no handler subscribes, or its runs are open)'}")
        say(f"Runs due: {started}; a running receiver starts them within a second.")
        if failed:
            raise typer.Exit(1)
