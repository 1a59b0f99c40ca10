"""Open the configured store for a command, without starting anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from receiver.assembly.resources import open_database
from receiver.cli.text_output import echo_error
from receiver.clock import SystemClock
from receiver.engine.filters import check_filter, check_handlers, check_metadata
from receiver.engine.plugins import load_registry
from receiver.errors import ListingTimeout, NotFound
from receiver.model.metadata import Pair
from receiver.settings import Settings, load, suggestion
from receiver.store import names
from receiver.store.clocks import compare_with_server
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.migrate import require_usable

MAX_NAMED = 20
"""Known words in one sentence."""


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
        database.query(require_usable, database.location)
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


def hint_unknown_error(database: Database, filter: Filter) -> None:
    """Say, of a filter that matches nothing, if no run has an error of its kind or for its reason, and which there are.

    A handler may use any word, so an unknown one is no error.
    """
    with suppress(ListingTimeout):
        for what, word, read in (
            ("of the kind", filter.error_kind, names.error_kinds),
            ("for the reason", filter.reason, names.reasons),
        ):
            known = database.query_list(read) if word else []
            if word and word not in known:
                echo_error(f"No run has an error {what} {word!r}{_suggestion(word, known)}")


def _suggestion(word: str, known: list[str]) -> str:
    """The nearest known word, or the first of all; with the punctuation of the end."""
    text = suggestion(word, known)
    if text.endswith("?") or len(known) <= MAX_NAMED:
        return text if text.endswith("?") else f"{text}."
    return f"; there is: {', '.join(known[:MAX_NAMED])}, and more."


def check_handler(settings: Settings, name: str | None) -> None:
    """Refuse a handler's name if nothing stored matches it and no active handler has it.

    Raises:
        NoSuchHandler: there is none; the message has the nearest name.
        ConfigError: the handlers cannot be loaded.
    """
    if name is not None and name not in settings.handlers:
        check_handlers([name], load_registry(settings).active)
