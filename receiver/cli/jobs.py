"""`jobs`: watch jobs that were submitted elsewhere; list, show, cancel, poll."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.options import (
    TIME_FORMS,
    All,
    Before,
    Config,
    Csv,
    Json,
    Limit,
    Metadata,
    Oldest,
    Source,
    check_choice,
    parse_metadata,
    parse_range,
)  # fmt: skip
from receiver.cli.text_output import echo, print_model
from receiver.model.audit import AuditOperation
from receiver.store.states import JobKind, JobState

if TYPE_CHECKING:
    from receiver.settings import Settings
    from receiver.store.jobs import Row
    from receiver.web.api.models import Job

app = typer.Typer(no_args_is_help=True, help="Jobs: speech requests that the receiver watches.")

STATES = tuple(str(state) for state in JobState)
_Job = Annotated[str, typer.Argument(help="The job's id (job_…), or the provider's id of it.")]


@app.command()
def watch(
    source: Annotated[str, typer.Option("--source", help="The configured source.")],
    ids: Annotated[list[str], typer.Argument(help="The provider's job ids.")],
    config: Config = None,
    job: Annotated[
        str | None, typer.Option("--for", help="The id of an `unknown` job whose id at the provider this is.")
    ] = None,
    task: Annotated[
        bool, typer.Option("--task", help="They are tasks, which may end with other files than audio.")
    ] = False,
    json: Json = False,
) -> None:
    """Watch jobs that were submitted elsewhere: a running receiver polls them and handles their results."""
    from receiver.assembly.sources import job_source
    from receiver.cli.event_lists import jobs_listing
    from receiver.cli.ids import find_job
    from receiver.cli.lists import Format, print_rows
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
            job = find_job(database, job, source)["id"]
            recorder = auditor(settings, AuditOperation.ADOPT_JOB).single(job=job, source=source, job_id=ids[0])
            row = database.transact(recorded, recorder, is_found, adopt_job, target, job, ids[0], time.time())
            done = [(row, True)]
        else:
            audit, kind = auditor(settings, AuditOperation.WATCH_JOB), JobKind.TASK if task else None
            done = []
            for job_id in ids:
                recorder = audit.single(source=source, job_id=job_id, kind=kind)
                watching = (target, job_id, time.time(), rng, kind)
                done.append(database.transact(recorded, recorder, is_new, watch_job, *watching))
    if json:
        print_rows(jobs_listing(settings), [row for row, _ in done], Format.JSON)
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
    oldest: Oldest = False,
    before: Before = None,
    limit: Limit = 50,
    all_: All = False,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """List jobs, the newest first, or the oldest."""
    from receiver.cli.event_lists import jobs_listing
    from receiver.cli.ids import find_filtered_job, find_position
    from receiver.cli.lists import Format, Page, Request, counter, list_format, list_order, print_list
    from receiver.cli.session import check_names, open_session
    from receiver.store import job_pages

    format, order = list_format(json, csv), list_order(oldest)
    created_after, created_before = parse_range(since, until)
    filters = job_pages.JobFilter(
        source=source,
        states=None if check_choice(state, STATES, "--state") is None else [str(state)],
        job=job,
        created_after=created_after,
        created_before=created_before,
        metadata=parse_metadata(metadata),
    )
    with open_session(config) as (settings, database):
        check_names(settings, database, source, None, filters.metadata)
        filters = replace(filters, job=find_filtered_job(database, job))

        def read(before: str | None, limit: int) -> Page:
            part = replace(filters, **order.beyond(before))
            if format is Format.TABLE:
                rows = database.query_list(job_pages.list_jobs, part, limit + 1, job_pages.LISTED, order)
                rows, more = rows[:limit], len(rows) > limit
            else:
                rows, more = database.query_list(job_pages.page_of_jobs, part, limit, order)
            return Page(rows, rows[-1]["id"] if more else None)

        def ids_before(before: str, limit: int) -> list[str]:
            part = replace(filters, **order.beyond(before))
            return database.query_list(job_pages.list_ids, part, limit, order)

        request = Request(format, None if all_ else limit, find_position(database, before, "job_"))
        print_list(jobs_listing(settings, database), read, request, counter(ids_before))


@app.command()
def show(job: _Job, config: Config = None, source: Source = None, json: Json = False) -> None:
    """Show everything about one job."""
    from receiver.cli.ids import find_job
    from receiver.cli.session import check_names, open_session

    with open_session(config) as (settings, database):
        check_names(settings, database, source)
        found = find_job(database, job, source)
    if json:
        _print_job(settings, found)
        return
    from receiver.cli.event_details import print_model_fields

    print_model_fields(_model_of(settings, found))


@app.command()
def cancel(job: _Job, config: Config = None, source: Source = None, json: Json = False) -> None:
    """Stop watching a job. It continues at the provider; one that is not submitted yet is never submitted."""
    from receiver.cli.ids import find_job
    from receiver.cli.recording import auditor
    from receiver.cli.session import check_names, open_session
    from receiver.engine.audit import recorded
    from receiver.engine.jobs.commands import cancel_job, is_found

    with open_session(config) as (settings, database):
        check_names(settings, database, source)
        found = find_job(database, job, source)
        recorder = auditor(settings, AuditOperation.CANCEL_JOB).single(job=found["id"])
        database.transact(recorded, recorder, is_found, cancel_job, found["id"], time.time())
        done = find_job(database, found["id"], None)
    if json:
        _print_job(settings, done)
    else:
        echo(f"{job}: no longer watched")


@app.command()
def poll(job: _Job, config: Config = None, source: Source = None, json: Json = False) -> None:
    """Make a running receiver poll an open job now, and end its source's pause."""
    from receiver.cli.ids import find_job
    from receiver.cli.recording import auditor
    from receiver.cli.session import check_names, open_session
    from receiver.engine.audit import recorded
    from receiver.engine.jobs.commands import is_found, poll_now

    with open_session(config) as (settings, database):
        check_names(settings, database, source)
        found = find_job(database, job, source)
        recorder = auditor(settings, AuditOperation.POLL_JOB).single(job=found["id"])
        database.transact(recorded, recorder, is_found, poll_now, found, time.time())
        done = find_job(database, found["id"], None)
    if json:
        _print_job(settings, done)
    else:
        echo(f"{job}: due now")


def _print_job(settings: Settings, row: Row) -> None:
    print_model(_model_of(settings, row))


def _model_of(settings: Settings, row: Row) -> Job:
    from receiver.model.redact import Redactor
    from receiver.web.api.rows import job_of

    return job_of(row, Redactor(settings.secrets()))
