"""All events or runs that match a filter: counted up to a bound, then read page by page while they are changed.

For commands and for operations in the background alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import fields, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection

from receiver.engine.batch_writer import BatchWriter
from receiver.model.timestamps import utc_text
from receiver.store import views
from receiver.store.event_pages import Filter
from receiver.store.states import RunState

PAGE = 500
MAX_COUNTED = 10_000
"""Matches are counted up to this number."""
MAX_COUNTED_AT_ONCE = 1_000
"""As many while an operator waits for an operation to be accepted: each thousand takes a tenth of a second or more."""
MAX_EXAMPLES = 5

_WORDS = {"job": "job_id", "event_id": "event", "after": "since", "before": "until", "newer_than": "after"}
_TIMES = ("after", "before")
_INTERNAL = ("older_than",)
"""The end of what there was when the change began."""


class Matches(NamedTuple):
    """What matches a filter.

    Attributes:
        number: up to one more than were to be counted.
        examples: the oldest: an event's id, and the handler if it is a run.
    """

    number: int
    examples: list[tuple[str, str | None]]


def describe_filter(filter: Filter) -> dict[str, Any]:
    """What the audit log says of a filter, with the words of the API where it has them."""
    found = {}
    for field in fields(filter):
        value = getattr(filter, field.name)
        if field.name in _TIMES and value is not None:
            value = utc_text(value)
        if field.name == "metadata":
            value = [f"{key}={text}" for key, text in filter.metadata]
        if field.name not in _INTERNAL:
            found[_WORDS.get(field.name, field.name)] = value
    return found


def find_matches(
    connection: Connection, filter: Filter, states: Sequence[RunState] | None, limit: int = MAX_COUNTED
) -> Matches:
    """Count the runs in these states that match, or for None the events, in one snapshot, up to a limit."""
    number = 0
    examples: list[tuple[str, str | None]] = []
    while number <= limit:
        page: list[tuple[str, str | None]]
        if states is None:
            page = [(id, None) for id in views.event_ids(connection, filter, PAGE)]
        else:
            page = [*views.runs_of_page(connection, filter, states, PAGE)]
        if not page:
            break
        examples += page[: MAX_EXAMPLES - len(examples)]
        number += len(page)
        if len(page) < PAGE:
            break
        filter = replace(filter, newer_than=page[-1][0])
    return Matches(min(number, limit + 1), examples)


async def pages_of_events(writer: BatchWriter, filter: Filter) -> AsyncIterator[list[str]]:
    """`event_ids`, a page at a time, with pauses.

    Raises:
        ListingTimeout: a page took too long.
    """
    full = True
    while full and (page := await writer.read(views.event_ids, filter, PAGE)):
        full = len(page) == PAGE
        yield page
        filter = replace(filter, newer_than=page[-1])


async def pages_of_runs(
    writer: BatchWriter, filter: Filter, states: Sequence[RunState]
) -> AsyncIterator[list[list[tuple[str, str]]]]:
    """`runs`, a page at a time, with pauses; the runs of one event are together.

    Raises:
        ListingTimeout: a page took too long.
    """
    full = True
    while full and (page := await writer.read(views.runs_of_page, filter, states, PAGE)):
        by_event = [list(keys) for _, keys in groupby(page, key=itemgetter(0))]
        full = len(by_event) == PAGE
        yield by_event
        filter = replace(filter, newer_than=page[-1][0])


def format_count(number: int, limit: int | None = None) -> str:
    """The number as text, such as `10,000+` if there are more than `limit`, by default `MAX_COUNTED`."""
    limit = MAX_COUNTED if limit is None else limit
    return f"{number:,}" if number <= limit else f"{limit:,}+"
