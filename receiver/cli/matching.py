"""All events or runs that match a filter: counted up to a bound, then read page by page while they are changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

from receiver.engine.batch_writer import BatchWriter
from receiver.store import views
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.states import RunState

PAGE = 500
MAX_COUNTED = 10_000
"""Matches are counted up to this number."""


def up_to_now(database: Database, filter: Filter) -> Filter:
    """The filter without events that are received from now on, so that the change comes to an end."""
    return replace(filter, older_than=database.query_list(views.end_of_events))


def event_ids(database: Database, filter: Filter) -> Iterator[str]:
    """Ids of all events that match, the oldest first.

    Raises:
        ListingTimeout: a page took too long.
    """
    while page := database.query_list(views.event_ids, filter, PAGE):
        yield from page
        filter = replace(filter, newer_than=page[-1])


def runs(database: Database, filter: Filter, states: Sequence[RunState]) -> Iterator[tuple[str, str]]:
    """(event id, handler) of all matching runs in these states, those of the oldest event first.

    Raises:
        ListingTimeout: a page took too long.
    """
    while page := database.query_list(views.runs_of_page, filter, states, PAGE):
        yield from page
        filter = replace(filter, newer_than=page[-1][0])


async def pages_of_events(writer: BatchWriter, filter: Filter) -> AsyncIterator[list[str]]:
    """`event_ids`, a page at a time, with pauses.

    Raises:
        ListingTimeout: a page took too long.
    """
    while page := await writer.read(views.event_ids, filter, PAGE):
        yield page
        filter = replace(filter, newer_than=page[-1])


async def pages_of_runs(
    writer: BatchWriter, filter: Filter, states: Sequence[RunState]
) -> AsyncIterator[list[list[tuple[str, str]]]]:
    """`runs`, a page at a time, with pauses; the runs of one event are together.

    Raises:
        ListingTimeout: a page took too long.
    """
    while page := await writer.read(views.runs_of_page, filter, states, PAGE):
        yield [list(keys) for _, keys in groupby(page, key=itemgetter(0))]
        filter = replace(filter, newer_than=page[-1][0])


def count(matches: Iterator[object]) -> int:
    """The number of matches, up to one more than `MAX_COUNTED`."""
    return sum(1 for _, _ in zip(range(MAX_COUNTED + 1), matches, strict=False))


def format_count(number: int) -> str:
    """The number as text, such as `10,000+` if there are more than were counted."""
    return f"{number:,}" if number <= MAX_COUNTED else f"{MAX_COUNTED:,}+"
