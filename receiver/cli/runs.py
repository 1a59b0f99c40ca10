"""`runs`: list, replay, cancel."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import Config, Job, Json, Limit, Since, Source, Type, Until, Yes, event_filter, one_of
from receiver.cli.output import confirm, iso, print_table, when
from receiver.cli.plain import print_json, say
from receiver.model.crashes import state_with_suspicion
from receiver.store.states import RunState

if TYPE_CHECKING:
    from receiver.store.event_pages import Filter

app = typer.Typer(no_args_is_help=True, help="Runs: one handler's work on one event.")

STATES = tuple(str(state) for state in RunState)
_State = Annotated[str | None, typer.Option("--state", help=f"Only in this state: {', '.join(STATES)}.")]
_Handler = Annotated[str | None, typer.Option("--handler", help="Only of this handler.")]
_Event = Annotated[str | None, typer.Argument(help="The event's id, or its beginning.")]


def _filter(
    source: str | None, type_: str | None, state: str | None, job: str | None, handler: str | None,
    since: str | None, until: str | None,
) -> Filter:  # fmt: skip
    which = event_filter(source, type_, None, job, since, until)
    return replace(which, state=one_of(state, STATES, "--state"), handler=handler)


@app.command("list")
def list_(
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    state: _State = None,
    job: Job = None,
    handler: _Handler = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List runs, those of the newest events first. Dead letters: --state dead."""
    from receiver.cli.opening import check_handler, check_names, opened
    from receiver.store import views

    which = _filter(source, type_, state, job, handler, since, until)
    with opened(config) as (settings, database):
        check_names(settings, database, source, type_)
        rows = database.query_list(views.list_runs, which, limit)
        if not rows:
            check_handler(settings, handler)
    if json:
        print_json([iso(row, "due_at", "started_at", "finished_at") for row in rows])
        return
    print_table(
        f"Runs: {len(rows)}" + (f" (the newest {limit}; --limit shows more)" if len(rows) == limit else ""),
        ["event", "handler", "state", "attempts", "source", "type", "job", "due", "finished", "error"],
        [
            (
                row["event_id"], row["handler"], state_with_suspicion(row["state"], row["crashes"]), row["attempts"],
                row["source"], row["type"], row["job_id"], when(row["due_at"]), when(row["finished_at"]), row["error"],
            )
            for row in rows
        ],
    )  # fmt: skip


@app.command()
def replay(
    event: _Event = None,
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    state: _State = None,
    job: Job = None,
    handler: _Handler = None,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
) -> None:
    """Make finished runs due again, with all their attempts: those of one event, or all that fit the filters."""
    from receiver.store import runs

    which = _filter(source, type_, state, job, handler, since, until)
    closed = (RunState.SUCCEEDED, RunState.DEAD, RunState.CANCELLED)

    def one(connection: Any, event_id: str, handler: str) -> bool:
        return bool(runs.replay(connection, event_id, [handler], time.time()))

    done = _each(config, event, which, closed, one, "Replay", yes)
    say(f"Runs due: {done}; a running receiver starts them within a second.")


@app.command()
def cancel(
    event: _Event = None,
    config: Config = None,
    source: Source = None,
    type_: Type = None,
    state: _State = None,
    job: Job = None,
    handler: _Handler = None,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
) -> None:
    """Cancel open runs: those of one event, or all that fit. A handler at work is stopped within a lease."""
    from receiver.store import runs

    which = _filter(source, type_, state, job, handler, since, until)

    def one(connection: Any, event_id: str, handler: str) -> bool:
        return runs.cancel(connection, event_id, handler, time.time())

    done = _each(config, event, which, (RunState.PENDING, RunState.RUNNING), one, "Cancel", yes)
    say(f"Runs cancelled: {done}.")


def _each(
    config: Any, event: str | None, which: Filter, states: tuple[RunState, ...], change: Any, verb: str, yes: bool
) -> int:
    from receiver.cli import matching
    from receiver.cli.opening import check_handler, check_names, one_event, opened
    from receiver.store.event_pages import Filter

    if event is None and which == Filter():
        raise typer.BadParameter("Name an event, or filter the runs, as in --state dead.")
    with opened(config) as (settings, database):
        check_names(settings, database, which.source, which.type)
        if event is not None:
            which = replace(which, event_id=one_event(database, event))
        wanted = tuple(state for state in states if which.state in (None, state))
        which = matching.up_to_now(database, which)
        number = matching.count(matching.runs(database, which, wanted)) if wanted else 0
        if not number:
            check_handler(settings, which.handler)
        say(f"Matching runs: {matching.shown(number)}.")
        if not number:
            return 0
        if event is None:
            confirm(f"{verb} {matching.shown(number)} runs?", yes)
        return sum(database.transact(change, *run) for run in matching.runs(database, which, wanted))
