"""Reads what was used by day, and how much of the budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from receiver.model.budget import Budget, Usage, day_end, day_of
from receiver.store import usage
from receiver.store.usage import UsageRow

DEFAULT_DAYS = 30
"""How many days are listed unless a request says since when."""
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget, and what of it is used today.

    Attributes:
        resets_at: when the UTC day ends.
    """

    source: str
    budget: Budget
    day: str
    used: Usage
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class UsageFound:
    """What was used since a day, the newest day first, and today's budgets."""

    rows: list[UsageRow]
    since: str
    budgets: list[BudgetState]


def read_usage(
    connection: Connection, budgets: Mapping[str, Budget | None], since: float | None, source: str | None, now: float
) -> UsageFound:
    """What was used since the UTC day of `since`, unix seconds; None for the last days.

    Args:
        budgets: of every source.
        source: only of this one; None for all.
    """
    first = day_of(now - (DEFAULT_DAYS - 1) * DAY_SECONDS if since is None else since)
    rows, today = usage.list_usage(connection, first, source), day_of(now)
    states = [
        BudgetState(name, budget, today, usage.read_day(connection, today, name), day_end(now))
        for name, budget in budgets.items()
        if budget is not None and source in (None, name)
    ]
    return UsageFound(rows, first, states)
