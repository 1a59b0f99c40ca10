"""A search for words in the errors of dead runs, in bounded steps.

No index holds words: dead runs are few, and their errors are read, the newest first, up to a number. The result says
how many were read and where it stopped, so that the next call continues there. Words are compared here and not by the
database, because each folds the case of letters in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from receiver.store import views
from receiver.store.event_pages import Filter, RunCondition, page_with_runs, run_condition
from receiver.store.schema import runs
from receiver.store.states import RunState

MAX_EXAMINED = 10_000
"""Dead runs whose errors one search reads."""
MAX_CHARACTERS = 200
"""Of the words together."""
PAGE = 250
"""Events whose dead runs one query reads."""


class ErrorMatches(NamedTuple):
    """What a search has found.

    Attributes:
        rows: as of the list; for runs those of the newest event first.
        examined: dead runs whose errors were read.
        stopped_at: the last event whose runs were read, if there may be more before it; for `Filter.older_than`.
    """

    rows: list[dict[str, Any]]
    examined: int
    stopped_at: str | None


def search_runs(connection: Connection, filters: Filter, text: str, limit: int) -> ErrorMatches:
    """Dead runs whose error has all words of the text, in any case and order; also as parts of other words.

    Args:
        limit: at how many runs it stops. The runs of one event are not split.
    """
    condition = run_condition(filters, (RunState.DEAD,))
    found, examined, stopped_at = _search(connection, filters, text, lambda _, matching: matching >= limit)
    rows = views.runs_of(connection, list(found), condition)
    return ErrorMatches([row for row in rows if row["handler"] in found[row["event_id"]]], examined, stopped_at)


def search_events(connection: Connection, filters: Filter, text: str, limit: int) -> ErrorMatches:
    """Up to `limit` events that have such a dead run; `filters.state` is one of `EVENT_STATES`."""
    found, examined, stopped_at = _search(connection, filters, text, lambda matching, _: matching >= limit)
    rows = views.summaries(connection, list(found))
    return ErrorMatches([row for row in rows if filters.state in (None, row["state"])], examined, stopped_at)


def _search(
    connection: Connection, filters: Filter, text: str, is_full: Callable[[int, int], bool]
) -> tuple[dict[str, list[str]], int, str | None]:
    """The handlers of matching runs by event, the newest first; the rest as `ErrorMatches`.

    Args:
        is_full: whether so many events and runs are enough.
    """
    words = text.casefold().split()
    condition = run_condition(filters, (RunState.DEAD,))
    found: dict[str, list[str]] = {}
    examined = matching_runs = 0
    while ids := page_with_runs(connection, filters, condition, PAGE):
        for event_id, errors in groupby(_errors_of(connection, ids, condition), key=itemgetter(0)):
            for _, handler, error in errors:
                examined += 1
                folded = (error or "").casefold()
                if all(word in folded for word in words):
                    found.setdefault(event_id, []).append(handler)
                    matching_runs += 1
            if is_full(len(found), matching_runs) or examined >= MAX_EXAMINED:
                return found, examined, event_id
        filters = replace(filters, older_than=ids[-1])
    return found, examined, None


def _errors_of(connection: Connection, ids: Sequence[str], condition: RunCondition) -> list[Any]:
    columns = select(runs.c.event_id, runs.c.handler, runs.c.error)
    rows = connection.execute(columns.where(runs.c.event_id.in_(ids), *condition.checks())).all()
    return sorted(sorted(rows, key=itemgetter(1)), key=itemgetter(0), reverse=True)
