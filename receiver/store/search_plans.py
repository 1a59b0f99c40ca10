"""Plans of a page: the searches of indexes that find it, of which the one with the fewest candidates is carried out.

Separate from the pages of events and of jobs, which both choose between plans.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, func, select

from receiver.model.metadata import Pair
from receiver.store.dialect import DIALECTS
from receiver.store.expressions import exists_for_row
from receiver.store.searches import IndexSearch, Order

COUNT_LIMITS = (100, 1000, 10_000)
"""How far the candidates of plans are counted, one limit after the other, to choose the plan with the fewest."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How to find a page: searches whose results are merged, and conditions that are checked for each result."""

    searches: Sequence[IndexSearch]
    checks: Sequence[Any]

    def page(self, connection: Connection, limit: int, order: Order) -> Any:
        """The statement for the first ids; there is at least one search."""
        searches = [search.checking(*self.checks) for search in self.searches]
        return DIALECTS[connection.dialect.name].searches.page(searches, order, limit)

    def ids(self, connection: Connection, limit: int, order: Order) -> list[str]:
        """The first ids."""
        if not self.searches:
            return []
        return list(connection.execute(self.page(connection, limit, order)).scalars())

    def candidates(self, connection: Connection, limit: int) -> int:
        """How many results the searches have, counted up to `limit`."""
        if not self.searches:
            return 0
        found = DIALECTS[connection.dialect.name].searches.some(self.searches, limit).subquery()
        return int(connection.execute(select(func.count()).select_from(found)).scalar_one())


def fewest(connection: Connection, plans: Sequence[SearchPlan]) -> SearchPlan | None:
    """The plan with the fewest candidates; None if each has very many. A single plan is not counted."""
    if len(plans) == 1:
        return plans[0]
    for limit in COUNT_LIMITS:
        counts = [plan.candidates(connection, limit) for plan in plans]
        if min(counts) < limit:
            return plans[counts.index(min(counts))]
    return None


def has_pairs(id_: Any, index: Table, pairs: Iterable[Pair]) -> list[Any]:
    """A condition for each pair of metadata: the event or the job with this id has it.

    Args:
        index: `event_metadata` or `job_metadata`, whose first column has the ids.
    """
    conditions = []
    for key, value in pairs:
        of = index.alias()
        conditions.append(exists_for_row(of.columns[0] == id_, of.c.key == key, of.c.value == value))
    return conditions
