"""All events or runs that fit a filter, counted up to a bound and then read page by page while they are changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

from receiver.engine.pacing import PacedWriter
from receiver.store import views
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.states import RunState

PAGE = 500
MAX_COUNTED = 10_000
"""How far what fits is counted."""


def up_to_now(database: Database, which: Filter) -> Filter:
    """The filter without what comes from now on: what is changed must not grow while it is read."""
    return replace(which, older_than=database.query_list(views.end_of_events))


def event_ids(database: Database, which: Filter) -> Iterator[str]:
    """Ids of all events that fit, the oldest first.

    Raises:
        ListingTimeout: a page took too long.
    """
    while page := database.query_list(views.event_ids, which, PAGE):
        yield from page
        which = replace(which, newer_than=page[-1])


def runs(database: Database, which: Filter, states: Sequence[RunState]) -> Iterator[tuple[str, str]]:
    """(event id, handler) of all runs in these states that fit, those of the oldest event first.

    Raises:
        ListingTimeout: a page took too long.
    """
    while page := database.query_list(views.runs_of_page, which, states, PAGE):
        yield from page
        which = replace(which, newer_than=page[-1][0])


async def pages_of_events(paced: PacedWriter, which: Filter) -> AsyncIterator[list[str]]:
    """`event_ids`, a page at a time and with pauses.

    Raises:
        ListingTimeout: a page took too long.
    """
    while page := await paced.read(views.event_ids, which, PAGE):
        yield page
        which = replace(which, newer_than=page[-1])


async def pages_of_runs(
    paced: PacedWriter, which: Filter, states: Sequence[RunState]
) -> AsyncIterator[list[list[tuple[str, str]]]]:
    """`runs`, a page at a time and with pauses; those of one event together.

    Raises:
        ListingTimeout: a page took too long.
    """
    while page := await paced.read(views.runs_of_page, which, states, PAGE):
        yield [list(of_event) for _, of_event in groupby(page, key=itemgetter(0))]
        which = replace(which, newer_than=page[-1][0])


def count(found: Iterator[object]) -> int:
    """How many there are, up to one more than `MAX_COUNTED`."""
    return sum(1 for _, _ in zip(range(MAX_COUNTED + 1), found, strict=False))


def format_count(number: int) -> str:
    """The number, or that there are more than were counted."""
    return str(number) if number <= MAX_COUNTED else f"{MAX_COUNTED:,}+"
