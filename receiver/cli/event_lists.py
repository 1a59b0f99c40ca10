"""The lists of events, of runs and of jobs: their columns, and their items as the API has them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import Any

from receiver.cli.lists import Listing
from receiver.cli.output import format_time
from receiver.cli.table_layout import Column
from receiver.model.crashes import state_with_suspicion
from receiver.model.redact import Redactor
from receiver.settings import Settings
from receiver.store import short_ids
from receiver.store.database import Database
from receiver.store.jobs import kind_of
from receiver.store.run_errors import ErrorGroup
from receiver.web.api.fields import cursor_after
from receiver.web.api.models import Event, Job, RunErrorGroup, RunOfEvent, event_of, run_error_group_of
from receiver.web.api.rows import job_of, run_of

PROVIDER_ID = 13
"""Cells of a provider's id: the first group of a UUID, and more."""


def events_listing(database: Database) -> Listing:
    """Of rows of `store.views.list_events`."""
    columns = (
        Column("event", itemgetter("id")),
        Column("received", _time("received_at"), 1),
        Column("state", itemgetter("state")),
        Column("source", itemgetter("source"), 1, 10),
        Column("type", itemgetter("type"), 1, 10),
        Column("job", itemgetter("job_id"), 3, PROVIDER_ID),
        Column("conflict", itemgetter("conflict"), 2, 10),
        Column("dup", lambda row: row["duplicates"] or None, 4, right=True),
    )
    prepare = _shortener(database, short_ids.shorten_events, "id")
    return Listing("Events", columns, Event, event_of, prepare, cursor_after, lambda: {"examined": None})


def runs_listing(database: Database, settings: Settings, extra: Callable[[], Mapping[str, Any]]) -> Listing:
    """Of rows of `store.views.list_runs`."""
    redact = Redactor(settings.secrets())
    columns = (
        Column("event", itemgetter("event_id")),
        Column("handler", itemgetter("handler"), 0, 10),
        Column("state", lambda row: state_with_suspicion(row["state"], row["crashes"])),
        Column("attempts", itemgetter("attempts"), 2, right=True),
        Column("source", itemgetter("source"), 5, 10),
        Column("type", itemgetter("type"), 5, 10),
        Column("job", itemgetter("job_id"), 6, PROVIDER_ID),
        Column("due", lambda row: None if row["finished_at"] else format_time(row["due_at"]), 3),
        Column("finished", _time("finished_at"), 3),
        Column("error kind", itemgetter("error_kind"), 4, 10),
        Column("reason", itemgetter("reason"), 4, 10),
        Column("error", itemgetter("error"), 1, 20),
    )
    prepare = _shortener(database, short_ids.shorten_events, "event_id")
    return Listing("Runs", columns, RunOfEvent, lambda row: run_of(row, redact), prepare, cursor_after, extra)


def run_errors_listing(database: Database, redact: Redactor) -> Listing:
    """Of groups of `store.run_errors`."""
    columns = (
        Column("runs", lambda group: f"{group.count:,}", right=True),
        Column("handler", attrgetter("handler"), 0, 10),
        Column("error kind", attrgetter("error_kind"), 0, 10),
        Column("reason", attrgetter("reason"), 1, 10),
        Column("first", lambda group: format_time(group.first_at), 4),
        Column("last", lambda group: format_time(group.last_at), 3),
        Column("example", attrgetter("event_id")),
        Column("error", attrgetter("error"), 2, 20),
    )

    def prepare(groups: Sequence[ErrorGroup]) -> Sequence[ErrorGroup]:
        short = database.query_list(short_ids.shorten_events, {group.event_id for group in groups})
        return [replace(group, event_id=short[group.event_id]) for group in groups]

    return Listing("", columns, RunErrorGroup, lambda group: run_error_group_of(group, redact), prepare)


def jobs_listing(settings: Settings, database: Database | None = None) -> Listing:
    """Of rows of `store.job_pages`."""
    redact = Redactor(settings.secrets())
    columns = (
        Column("job", itemgetter("id")),
        Column("created", _time("created_at"), 3),
        Column("state", itemgetter("state")),
        Column("kind", kind_of, 5),
        Column("source", itemgetter("source"), 1, 10),
        Column("provider's id", itemgetter("job_id"), 1, PROVIDER_ID),
        Column("progress", lambda row: None if row["progress"] is None else f"{row['progress']} %", 4, right=True),
        Column("polls", itemgetter("polls"), 5, right=True),
        Column("next", lambda row: None if row["ended_at"] else format_time(row["due_at"]), 4),
        Column("ended", _time("ended_at"), 4),
        Column("error", itemgetter("error"), 2, 20),
    )
    listing = Listing("Jobs", columns, Job, lambda row: job_of(row, redact), cursor=cursor_after)
    return listing if database is None else replace(listing, prepare=_shortener(database, short_ids.shorten_jobs, "id"))


def _time(name: str) -> Callable[[Mapping[str, Any]], str | None]:
    return lambda row: format_time(row[name])


def _shortener(
    database: Database, shorten: Callable[..., dict[str, str]], name: str
) -> Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]]:
    """Gives the rows short ids."""

    def prepare(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        ids: Collection[str] = {row[name] for row in rows}
        short = database.query_list(shorten, ids)
        return [{**row, name: short[row[name]]} for row in rows]

    return prepare
