"""`jobs`: watch jobs that were submitted elsewhere; list, show, cancel, poll."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import (
    TIME_FORMS,
    Config,
    Json,
    Limit,
    Metadata,
    Source,
    check_choice,
    parse_metadata,
    parse_range,
)  # fmt: skip
from receiver.cli.output import cell, console, format_time, print_fields, print_table, with_iso_times
from receiver.cli.text_output import echo, print_json
from receiver.model.audit import AuditOperation
from receiver.store.states import JobState

if TYPE_CHECKING:
    from receiver.store.jobs import Row

app = typer.Typer(no_args_is_help=True, help="Jobs: speech requests that the receiver watches.")

STATES = tuple(str(state) for state in JobState)
_TIMES = ("created_at", "due_at", "deadline_at", "lease_until", "submitted_at", "ended_at")
_Job = Annotated[str, typer.Argument(help="The job's id (job_…), or the provider's id of it.")]


@app.command()
def watch(
    source: Annotated[str, typer.Option("--source", help="The configured source.")],
    ids: Annotated[list[str], typer.Argument(help="The provider's job ids.")],
    config: Config = None,
    job: Annotated[
        str | None, typer.Option("--for", help="The id of an `unknown` job whose id at the provider this is.")
    ] = None,
    json: Json = False,
) -> None:
    """Watch jobs that were submitted elsewhere: a running receiver polls them and handles their results."""
    from receiver.assembly.sources import job_source
    from receiver.cli.recording import auditor
    from receiver.cli.session import open_session
    from receiver.engine.audit import recorded
    from receiver.engine.jobs.commands import adopt_job, is_found, is_new, watch_job

    if job is not None and len(ids) != 1:
        raise typer.BadParameter("give exactly one id, the provider's id of the job.", param_hint="--for")
    with open_session(config) as (settings, database):
        target = job_source(settings, source)
        rng = random.Random()  # noqa: S311 - ids need no secrecy
        if job is not None:
            recorder = auditor(settings, AuditOperation.ADOPT_JOB).single(job=job, source=source, job_id=ids[0])
            row = database.transact(recorded, recorder, is_found, adopt_job, target, job, ids[0], time.time())
            done = [(row, True)]
        else:
            audit = auditor(settings, AuditOperation.WATCH_JOB)
            done = []
            for job_id in ids:
                recorder = audit.single(source=source, job_id=job_id)
                done.append(database.transact(recorded, recorder, is_new, watch_job, target, job_id, time.time(), rng))
    if json:
        print_json([_to_dict(row) | {"new": new} for row, new in done])
        return
    for row, new in done:
        words = "now watched" if new else f"already known, {row['state']}"
        echo(f"{row['job_id']}: {words}")


@app.command("list")
def list_(
    config: Config = None,
    source: Source = None,
    state: Annotated[str | None, typer.Option("--state", help=f"Only in this state: {', '.join(STATES)}.")] = None,
    job: Annotated[str | None, typer.Option("--job", help="Only this job: its id, or the provider's.")] = None,
    since: Annotated[str | None, typer.Option("--since", help=f"Created since: {TIME_FORMS}.")] = None,
    until: Annotated[str | None, typer.Option("--until", help=f"Created before: {TIME_FORMS}.")] = None,
    metadata: Metadata = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List jobs, the newest first."""
    from receiver.cli.session import check_names, open_session
    from receiver.store import job_pages

    after, before = parse_range(since, until)
    filters = job_pages.JobFilter(
        source=source,
        states=None if check_choice(state, STATES, "--state") is None else [str(state)],
        job=job,
        created_after=after,
        created_before=before,
        metadata=parse_metadata(metadata),
    )
    with open_session(config) as (settings, database):
        check_names(settings, database, source, None, filters.metadata)
        rows = database.query_list(job_pages.list_jobs, filters, limit, job_pages.ALL if json else job_pages.SUMMARY)
    if json:
        print_json([_to_dict(row) for row in rows])
        return
    print_table(
        f"Jobs: {len(rows)}" + (f" (the newest {limit}; --limit shows more)" if len(rows) == limit else ""),
        ["id", "source", "provider's id", "state", "progress", "polls", "next", "ended", "error"],
        [
            (
                row["id"],
                row["source"],
                row["job_id"],
                row["state"],
                None if row["progress"] is None else f"{row['progress']} %",
                row["polls"],
                format_time(row["due_at"]) if row["ended_at"] is None else None,
                format_time(row["ended_at"]),
                row["error"],
            )
            for row in rows
        ],
    )


@app.command()
def show(job: _Job, config: Config = None, source: Source = None, json: Json = False) -> None:
    """Show everything about one job."""
    from receiver.cli.session import check_names, find_job, open_session

    with open_session(config) as (settings, database):
        check_names(settings, database, source)
        found = find_job(database, job, source)
    if json:
        print_json(_to_dict(found))
        return
    fields = ((name, cell(format_time(value) if name in _TIMES else value)) for name, value in found.items())
    print_fields(console(), fields)


@app.command()
def cancel(job: _Job, config: Config = None, source: Source = None, json: Json = False) -> None:
    """Stop watching a job. It continues at the provider; one that is not submitted yet is never submitted."""
    from receiver.cli.recording import auditor
    from receiver.cli.session import check_names, find_job, open_session
    from receiver.engine.audit import recorded
    from receiver.engine.jobs.commands import cancel_job, is_found

    with open_session(config) as (settings, database):
        check_names(settings, database, source)
        found = find_job(database, job, source)
        recorder = auditor(settings, AuditOperation.CANCEL_JOB).single(job=found["id"])
        database.transact(recorded, recorder, is_found, cancel_job, found["id"], time.time())
        done = find_job(database, found["id"], None)
    if json:
        print_json(_to_dict(done))
    else:
        echo(f"{job}: no longer watched")


@app.command()
def poll(job: _Job, config: Config = None, source: Source = None, json: Json = False) -> None:
    """Make a running receiver poll an open job now, and end its source's pause."""
    from receiver.cli.recording import auditor
    from receiver.cli.session import check_names, find_job, open_session
    from receiver.engine.audit import recorded
    from receiver.engine.jobs.commands import is_found, poll_now

    with open_session(config) as (settings, database):
        check_names(settings, database, source)
        found = find_job(database, job, source)
        recorder = auditor(settings, AuditOperation.POLL_JOB).single(job=found["id"])
        database.transact(recorded, recorder, is_found, poll_now, found, time.time())
        done = find_job(database, found["id"], None)
    if json:
        print_json(_to_dict(done))
    else:
        echo(f"{job}: due now")


def _to_dict(row: Row) -> Row:
    return with_iso_times(row, *_TIMES)
