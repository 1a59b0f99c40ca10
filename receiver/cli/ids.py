"""Finds what the ids in a command name: complete ones, unique beginnings, and positions in a list."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import typer

from receiver.cli.session import check_names
from receiver.cli.text_output import echo_error
from receiver.errors import NotFound
from receiver.model.redact import ELLIPSIS
from receiver.settings import Settings
from receiver.store import jobs, short_ids, views
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.jobs import Row


class AmbiguousId(NotFound):
    """Several ids begin so."""


def find_event_id(database: Database, text: str) -> str:
    """The id of the event that begins with this text.

    Raises:
        typer.BadParameter: it is empty, as an unset variable of a script is; every id would begin with it.
        NotFound: no event or several events begin with it.
    """
    beginning = text.removesuffix(ELLIPSIS)
    if beginning in ("", "evt_"):
        raise typer.BadParameter(
            f"{text!r} names no event: give its id, or a unique prefix; `tts-receiver events list` lists the ids."
        )
    prefix = beginning if beginning.startswith("evt_") else f"evt_{beginning}"
    found = database.query_list(short_ids.events_beginning_with, prefix)
    if not found:
        raise NotFound(
            f"There is no event {text}; `tts-receiver events list` lists the events, with `--job` those of one job."
        )
    if len(found) > 1:
        raise _ambiguous(f"More than one event starts with {text}", found)
    return found[0]


def find_newest_event_id(database: Database, filter: Filter) -> str:
    """The id of the newest event that matches; a line on standard error says so if there are others.

    Raises:
        NotFound: none matches.
    """
    found = database.query_list(views.list_events, filter, 2)
    if not found:
        raise NotFound("No event matches. The end of a job is one; `tts-receiver jobs list` has jobs that are open.")
    if len(found) > 1:
        echo_error(
            "This is the newest event of several; `tts-receiver events list` with the same options has the others."
        )
    id_: str = found[0]["id"]
    return id_


def select_event(settings: Settings, database: Database, text: str | None, filter: Filter) -> str:
    """The id of the event that a command is for: the named one, or the newest that matches.

    Raises:
        typer.BadParameter: it is neither named nor filtered, or both.
        NotFound: there is none.
    """
    if text is not None and filter != Filter():
        raise typer.BadParameter("Name events or filter them, not both.")
    if text is not None:
        return find_event_id(database, text)
    if filter == Filter():
        raise typer.BadParameter("Name an event, or filter them, as in --job JOB.")
    check_names(settings, database, None, None, filter.metadata)
    return find_newest_event_id(database, resolve_ids(database, filter))


def find_position(database: Database, text: str | None, prefix: str = "evt_") -> str | None:
    """The id that a list begins or ends at: of an id, a unique beginning of one, or the `next` of a page.

    An id that is complete need not exist any more.

    Raises:
        typer.BadParameter: it is empty.
        NotFound: no event or several events begin with it.
    """
    if text is None:
        return None
    if re.fullmatch(prefix + "[0-9a-f]{32}", text):
        return text
    if re.fullmatch("[A-Za-z0-9_-]{22}", text) and not re.fullmatch(f"({prefix})?[0-9a-f]+", text):
        return prefix + base64.urlsafe_b64decode(text + "==").hex()
    if prefix == "evt_":
        return find_event_id(database, text)
    if prefix == "job_":
        return str(find_job(database, text, None)["id"])
    raise NotFound(f"{text} is neither an id nor the `next` of a page.")


def resolve_ids(database: Database, filter: Filter) -> Filter:
    """The filter with complete ids of its job, and of the events that it begins after and ends before.

    Raises:
        NotFound: an id is not unique, or there is no such event.
    """
    return replace(
        filter,
        job=find_provider_id(database, filter.job),
        newer_than=find_position(database, filter.newer_than),
        older_than=find_position(database, filter.older_than),
    )


def find_job(database: Database, reference: str, source: str | None) -> Row:
    """The job with this id, ours or the provider's, or the only one whose id begins so.

    Raises:
        typer.BadParameter: the id is empty.
        NotFound: there is none, or several sources have a job of this id, or several ids begin so.
    """
    beginning = reference.removesuffix(ELLIPSIS)
    if beginning in ("", "job_"):
        raise typer.BadParameter("The id is empty: give that of a job; `tts-receiver jobs list` lists the ids.")
    found = database.query_list(jobs.find, reference, source)
    if not found:
        ids = database.query_list(short_ids.jobs_beginning_with, beginning, source)
        if len(ids) > 1:
            raise _ambiguous(f"More than one job has an id that starts with {reference}", ids)
        found = database.query_list(jobs.find, ids[0]) if ids else []
    if not found:
        of = f" of source {source}" if source else ""
        raise NotFound(f"No job {reference}{of} is known; `tts-receiver jobs list` lists them.")
    if len(found) > 1:
        names = ", ".join(row["source"] for row in found)
        raise NotFound(f"Several sources have a job {reference} ({names}); name one with --source.")
    return found[0]


def find_provider_id(database: Database, text: str | None) -> str | None:
    """The provider's id of a job, for a filter: of that id, our id of it, or a unique beginning of either.

    A text that names no known job stays as it is: its events, if there are any, have it.

    Raises:
        NotFound: several ids begin so.
    """
    if text is None or not text or database.query_list(views.list_events, Filter(job=text), 1):
        return text
    beginning = text.removesuffix(ELLIPSIS)
    found = {row["job_id"] for row in database.query_list(jobs.find, text) if row["job_id"] is not None}
    if not found:
        found.update(database.query_list(short_ids.provider_ids_beginning_with, beginning))
        for id_ in database.query_list(short_ids.jobs_beginning_with, beginning):
            found.update(row["job_id"] for row in database.query_list(jobs.find, id_) if row["job_id"] is not None)
    if len(found) > 1:
        raise _ambiguous(f"More than one job has an id that starts with {text}", sorted(found))
    return found.pop() if found else text


def find_filtered_job(database: Database, text: str | None) -> str | None:
    """The id for a filter of jobs: a beginning becomes the id of the only job that has it; what names no job stays.

    Raises:
        AmbiguousId: several ids begin so.
    """
    if text is None or database.query_list(jobs.find, text):  # several sources may have a job of this id
        return text
    try:
        return str(find_job(database, text, None)["id"])
    except AmbiguousId:
        raise
    except NotFound:
        return text


def _ambiguous(what: str, found: list[str]) -> AmbiguousId:
    shown = found[: short_ids.MAX_CANDIDATES]
    more = ["  …"] if len(found) > len(shown) else []
    return AmbiguousId("\n".join([f"{what}; give a longer prefix:", *(f"  {id_}" for id_ in shown), *more]))
