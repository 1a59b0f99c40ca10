"""Open the configured store for a command, without starting anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from receiver.assembly.resources import open_database
from receiver.cli.text_output import echo_error
from receiver.clock import SystemClock
from receiver.engine.filters import check_filter, check_handlers, check_metadata
from receiver.engine.plugins import load_registry
from receiver.errors import NotFound
from receiver.model.metadata import Pair
from receiver.settings import Settings, load
from receiver.store import jobs, views
from receiver.store.clocks import compare_with_server
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.jobs import Row
from receiver.store.migrate import require_usable


@contextmanager
def open_session(config: Path | None) -> Iterator[tuple[Settings, Database]]:
    """The settings and the store, which must exist and have a schema that this release can use.

    Raises:
        ConfigError: the configuration cannot be used.
        NotFound: there is no store yet.
        SchemaTooNew, SchemaTooOld: it has another release's schema.
    """
    settings = load(config)
    database = open_database(settings)
    if not database.exists():
        raise NotFound(f"There is no store at {database.location} yet; `tts-receiver serve` creates it.")
    try:
        database.query(require_usable)
        database.announce_commits()
        yield settings, database
    finally:
        database.close()


def clock_difference(database: Database) -> float:
    """By how many seconds this machine's clock is ahead of the database server's, by which heartbeats are written.

    0 for a store in a folder: its processes share this machine's clock.
    """
    return database.query(compare_with_server, SystemClock()) if database.folder is None else 0.0


def check_names(
    settings: Settings,
    database: Database,
    source: str | None,
    type_: str | None = None,
    metadata: tuple[Pair, ...] = (),
) -> None:
    """Refuse a filter by a source or an event type that does not exist, or by metadata that is not indexed.

    Raises:
        UnknownName: it does not exist; the message has the nearest name.
        MetadataNotIndexed: the message says what to do.
    """
    database.query_list(check_filter, settings.sources, source, type_)
    if metadata:
        database.query_list(check_metadata, settings.search.metadata, metadata)


def check_handler(settings: Settings, name: str | None) -> None:
    """Refuse a handler's name if nothing stored matches it and no active handler has it.

    Raises:
        NoSuchHandler: there is none; the message has the nearest name.
        ConfigError: the handlers cannot be loaded.
    """
    if name is not None and name not in settings.handlers:
        check_handlers([name], load_registry(settings).active)


def find_event_id(database: Database, prefix: str) -> str:
    """The id of the event that starts with this prefix.

    Raises:
        typer.BadParameter: it is empty, as an unset variable of a script is; every id would start with it.
        NotFound: no event or several events start with it.
    """
    if prefix in ("", "evt_"):
        raise typer.BadParameter(
            f"{prefix!r} names no event: give its id, or a unique prefix; `tts-receiver events list` lists the ids."
        )
    text = prefix if prefix.startswith("evt_") else f"evt_{prefix}"
    found = database.query_list(views.find_event, text)
    if not found:
        raise NotFound(
            f"There is no event {prefix}; `tts-receiver events list` lists the events, with `--job` those of one job."
        )
    if len(found) > 1:
        raise NotFound(f"More than one event starts with {prefix}; give a longer prefix.")
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
        echo_error("This is the newest event of several; `tts-receiver events list` has the others.")
    id_: str = found[0]["id"]
    return id_


def find_job(database: Database, reference: str, source: str | None) -> Row:
    """The job with this id, ours or the provider's.

    Raises:
        typer.BadParameter: the id is empty.
        NotFound: there is none, or several sources have a job of this id.
    """
    if not reference:
        raise typer.BadParameter("The id is empty: give that of a job; `tts-receiver jobs list` lists the ids.")
    found = database.query_list(jobs.find, reference, source)
    if not found:
        of = f" of source {source}" if source else ""
        raise NotFound(f"No job {reference}{of} is known; `tts-receiver jobs list` lists them.")
    if len(found) > 1:
        names = ", ".join(row["source"] for row in found)
        raise NotFound(f"Several sources have a job {reference} ({names}); name one with --source.")
    return found[0]
