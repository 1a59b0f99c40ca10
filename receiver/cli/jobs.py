"""`jobs`: watch jobs that were submitted elsewhere; list, show, cancel, poll."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from receiver.cli.opening import opened
from receiver.cli.options import Config, Json, Limit, Source, one_of
from receiver.cli.output import cell, console, iso, print_json, print_table, when
from receiver.errors import NotFound, ReceiverError
from receiver.providers.base import usable_word
from receiver.settings import Settings, nearest
from receiver.store import jobs
from receiver.store.schema import JobState

app = typer.Typer(no_args_is_help=True, help="Jobs: speech that a provider is making, and that we watch.")

STATES = tuple(str(state) for state in JobState)
_TIMES = ("watched_at", "next_poll_at", "deadline_at", "lease_until", "ended_at")
_Source = Annotated[str, typer.Option("--source", help="The configured source.")]
_Job = Annotated[str, typer.Argument(help="The provider's job id.")]


class NotWatchable(ReceiverError):
    """A job cannot be watched; the message says why and what to do."""

    reason = "not_watchable"


@app.command()
def watch(
    source: _Source,
    ids: Annotated[list[str], typer.Argument(help="The provider's job ids.")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Watch jobs that were submitted elsewhere: a running receiver polls them and handles their ends."""
    with opened(config) as (settings, database):
        about = _source(settings, source)
        now, done = time.time(), []
        for job_id in ids:
            if usable_word(job_id) is None:
                raise NotWatchable(f"{job_id!r} is no job id: it is empty, too long, or has white space around it.")
            deadline = now + about.cadence.deadline_seconds
            # Named by hand means "tell me now": a webhook that was lost is not waited for.
            new = database.transact(jobs.watch, source, job_id, now, now, deadline)
            done.append({"source": source, "job_id": job_id, "new": new})
    if json:
        print_json(done)
        return
    for row in done:
        typer.echo(f"{row['job_id']}: {'watched from now on' if row['new'] else 'known already'}")


@app.command("list")
def list_(
    config: Config = None,
    source: Source = None,
    state: Annotated[str | None, typer.Option("--state", help=f"Only in this state: {', '.join(STATES)}.")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List jobs, the last watched first."""
    one_of(state, STATES, "--state")
    with opened(config) as (_, database):
        rows = database.query(jobs.list_jobs, source, [state] if state else None, limit)
    if json:
        print_json([iso(row, *_TIMES) for row in rows])
        return
    print_table(
        f"Jobs: {len(rows)}",
        ["job", "source", "state", "progress", "polls", "next poll", "ended", "event", "error"],
        [
            (
                row["job_id"],
                row["source"],
                row["state"],
                None if row["progress"] is None else f"{row['progress']} %",
                row["polls"],
                when(row["next_poll_at"]) if row["state"] == "watching" else None,
                when(row["ended_at"]),
                row["event_id"],
                row["error"],
            )
            for row in rows
        ],
    )


@app.command()
def show(source: _Source, job: _Job, config: Config = None, json: Json = False) -> None:
    """Show everything about one job."""
    with opened(config) as (_, database):
        found: dict[str, Any] | None = database.query(jobs.get, source, job)
    if found is None:
        raise NotFound(f"No job {job} of source {source} is known; `tts-receiver jobs list` shows what there is.")
    if json:
        print_json(iso(found, *_TIMES))
        return
    out = console()
    for name, value in found.items():
        out.print(f"[bold]{name:<13}[/] {cell(when(value) if name in _TIMES else value)}")


@app.command()
def cancel(source: _Source, job: _Job, config: Config = None) -> None:
    """Watch a job no longer. It goes on at the provider."""
    with opened(config) as (_, database):
        if not database.transact(jobs.cancel, source, job, time.time()):
            raise NotFound(f"The job {job} of source {source} is not being watched.")
    typer.echo(f"{job}: watched no longer")


@app.command()
def poll(source: _Source, job: _Job, config: Config = None) -> None:
    """Have a watched job polled now, by a running receiver."""
    with opened(config) as (_, database):
        if not database.transact(jobs.poll_now, source, job, time.time()):
            raise NotFound(f"The job {job} of source {source} is not being watched.")
    typer.echo(f"{job}: due now")


def _source(settings: Settings, name: str) -> Any:
    if name not in settings.sources:
        raise NotFound(f"There is no source {name!r}{nearest(name, settings.sources)}")
    source = settings.sources[name]
    if source.api_key is None:
        raise NotWatchable(f"The source {name} has no api_key: its jobs cannot be asked about.")
    return source
