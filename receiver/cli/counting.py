"""All events or runs that match a filter, read by a command before it changes them, to count them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from receiver.engine import matching
from receiver.store import views
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.states import RunState


def up_to_now(database: Database, filter: Filter) -> Filter:
    """The filter without events that are received from now on, so that the change comes to an end."""
    return replace(filter, older_than=database.query_list(views.end_of_events))


def event_ids(database: Database, filter: Filter) -> Iterator[str]:
    """Ids of all events that match, the oldest first.

    Raises:
        ListingTimeout: a page took too long.
    """
    while page := database.query_list(views.event_ids, filter, matching.PAGE):
        yield from page
        if len(page) < matching.PAGE:
            break
        filter = replace(filter, newer_than=page[-1])


def runs(database: Database, filter: Filter, states: Sequence[RunState]) -> Iterator[tuple[str, str]]:
    """(event id, handler) of all matching runs in these states, those of the oldest event first.

    Raises:
        ListingTimeout: a page took too long.
    """
    while page := database.query_list(views.runs_of_page, filter, states, matching.PAGE):
        yield from page
        if len(page) < matching.PAGE:
            break
        filter = replace(filter, newer_than=page[-1][0])


def count(matches: Iterator[object]) -> int:
    """The number of matches, up to one more than `MAX_COUNTED`."""
    return sum(1 for _, _ in zip(range(matching.MAX_COUNTED + 1), matches, strict=False))
