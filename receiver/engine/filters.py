"""Checks the names in a filter: the answer to a mistyped one must not look like an empty store.

Sources and handlers are known if they are configured or were active here once. Event types are an open vocabulary:
a service may send any word, so only one that is almost one of ours, and that no event has, is a mistake.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection

from sqlalchemy import Connection

from receiver.errors import ReceiverError
from receiver.model.event import COMPLETED, FAILED, TEST
from receiver.settings import suggestion
from receiver.store import names

OUR_TYPES = (COMPLETED, FAILED, TEST)
ALMOST = 0.8
"""How alike two words are, from 0 to 1, of which one is taken for the other mistyped."""


class UnknownName(ReceiverError):
    """A filter names something unknown; the message has the nearest known name.

    Attributes:
        field: the filter's name.
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
    """Refuse a filter by a name that means nothing here.

    Args:
        sources: those that are configured.

    Raises:
        NoSuchSource: the source is neither configured nor known to the store.
        NoSuchType: the type is almost one of ours, and no event has it.
    """
    if source is not None and source not in sources:
        known = {*sources, *names.sources(connection)}
        if source not in known and not names.has_open_jobs(connection, source):
            raise no_such_source(source, known)
    if type_ is not None and type_ not in OUR_TYPES:
        near = difflib.get_close_matches(type_, OUR_TYPES, n=1, cutoff=ALMOST)
        if near and not names.is_type(connection, type_):
            raise NoSuchType(f"There is no event type {type_!r}; did you mean {near[0]!r}?")


def no_such_source(source: str, known: Collection[str]) -> NoSuchSource:
    """The error for a source that is none of these."""
    return NoSuchSource(f"There is no source {source!r}{suggestion(source, known)}")


def check_handlers(wanted: Collection[str], active: Collection[str]) -> None:
    """Refuse a name that no active handler has.

    Raises:
        NoSuchHandler: names the nearest.
    """
    for name in wanted:
        if name not in active:
            raise NoSuchHandler(f"No handler {name!r} is active{suggestion(name, active)}")
