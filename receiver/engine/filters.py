"""Checks the names in a filter: the result for a mistyped name must not look like an empty store.

Sources and handlers are known if they are configured or the store has rows of them. Event types are an open set,
because a service may send any word. Only a type that resembles one of ours, and that no event has, is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from receiver.errors import ReceiverError
from receiver.model.event import OUR_TYPES
from receiver.model.metadata import Pair
from receiver.settings import suggestion
from receiver.store import names
from receiver.store.metadata_index import MetadataNotIndexed, require_indexed

MIN_SIMILARITY = 0.8
"""How similar two words must be, from 0 to 1, for one to count as the other mistyped."""


class UnknownName(ReceiverError):
    """A filter has an unknown name; the message suggests the nearest known one.

    Attributes:
        field: the filter's field.
    """

    field = ""


class NoSuchSource(UnknownName):
    """No source has this name."""

    reason = "no_such_source"
    field = "source"


class NoSuchType(UnknownName):
    """No event has this type."""

    reason = "no_such_type"
    field = "type"


class NoSuchHandler(UnknownName):
    """No handler has this name."""

    reason = "no_such_handler"
    field = "handler"


def check_filter(connection: Connection, sources: Collection[str], source: str | None, type_: str | None) -> None:
    """Refuse a filter with an unknown name.

    Args:
        sources: names of the configured sources.

    Raises:
        NoSuchSource: the source is neither configured nor known to the store.
        NoSuchType: the type resembles one of ours, and no event has it.
    """
    if source is not None and source not in sources:
        known = {*sources, *names.sources(connection)}
        if source not in known and not names.has_open_jobs(connection, source):
            raise no_such_source(source, known)
    if type_ is not None and type_ not in OUR_TYPES:
        near = difflib.get_close_matches(type_, OUR_TYPES, n=1, cutoff=MIN_SIMILARITY)
        if near and not names.is_type(connection, type_):
            raise NoSuchType(f"There is no event type {type_!r}; did you mean {near[0]!r}?")


def check_metadata(connection: Connection, configured: Sequence[str], pairs: Sequence[Pair]) -> None:
    """Refuse a filter by metadata that is not indexed, or not all of it: nothing else could find it without a scan.

    Args:
        configured: the keys of `search.metadata`.

    Raises:
        MetadataNotIndexed: the message says how to index it.
    """
    if not pairs:
        return
    for key, _ in pairs:
        if key not in configured:
            near = difflib.get_close_matches(key, configured, n=1)
            what = f"; did you mean {near[0]!r}? Otherwise" if near else ":"
            raise MetadataNotIndexed(
                f"Metadata is not indexed by {key!r}{what} add it to search.metadata, restart the receiver, then run "
                "`tts-receiver db index-metadata`."
            )
    require_indexed(connection, [key for key, _ in pairs])


def no_such_source(source: str, known: Collection[str]) -> NoSuchSource:
    """Return the error for a source that is not among `known`."""
    return NoSuchSource(f"There is no source {source!r}{suggestion(source, known)}")


def check_handlers(wanted: Collection[str], active: Collection[str]) -> None:
    """Refuse names that no active handler has.

    Raises:
        NoSuchHandler: for the first such name; the message suggests the nearest.
    """
    for name in wanted:
        if name not in active:
            raise NoSuchHandler(f"No handler {name!r} is active{suggestion(name, active)}")
