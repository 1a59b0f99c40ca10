"""What was charged: by source and day, and how much is left of the budgets."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import Field
from sqlalchemy import Connection

from receiver.engine.usage import DEFAULT_DAYS, BudgetState, UsageFound, read_usage
from receiver.model.charge import credits_text
from receiver.store.usage import UsageRow
from receiver.web.api.budgets import Amount
from receiver.web.api.context import ApiContext
from receiver.web.api.fields import DIGITS, RequestModel, ResponseModel, SourceName, Time, optional_seconds
from receiver.web.api.jobs import require_names
from receiver.web.api.operations import ApiResponse

MAX_ROWS = 1000


class UsageQuery(RequestModel):
    """Of what time."""

    source: Annotated[SourceName | None, Field(description="Only of this source.")] = None
    since: Annotated[
        Time | None, Field(description=f"Since the day (UTC) of this time. By default the last {DEFAULT_DAYS} days.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS, description="Items, those of the newest days."), DIGITS] = 200


class UsageOfDay(ResponseModel):
    """What the jobs have used that were created in one day at one source."""

    day: Annotated[date, Field(description="UTC.")]
    source: str
    jobs: Annotated[int, Field(description="Those that the provider accepted, or may accept.")]
    characters: Annotated[int, Field(description="As charged; the text's length until, or unless, the provider says.")]
    reserved: Annotated[int, Field(description="Of these characters: those that are not reported as charged.")]
    credits: Annotated[Amount, Field(description="As the provider reported them.")]


class Budget(ResponseModel):
    """A configured budget, and what of it is used."""

    source: str
    day: Annotated[date, Field(description="Today, UTC.")]
    characters_per_day: int | None
    characters: Annotated[int, Field(description="Used.")]
    credits_per_day: Amount | None
    credits: Annotated[Amount, Field(description="Used.")]
    resets_at: Annotated[datetime, Field(description="The end of the day.")]


class UsageList(ResponseModel):
    """What was used by source and day, the newest day first."""

    items: list[UsageOfDay]
    days: Annotated[int, Field(description="How many items there are; more than `items` if `limit` is reached.")]
    since: Annotated[date, Field(description="The first day.")]
    budgets: Annotated[list[Budget], Field(description="Of the sources that have one.")]


async def list_usage(context: ApiContext, query: UsageQuery) -> ApiResponse:
    """What jobs have used, by source and day (UTC): from the receiver's own ledger, which stays when jobs are deleted.

    A job counts on the day on which it was created. It counts once, however often its end is reported.
    """
    await require_names(context, query.source)
    budgets = {name: source.budget for name, source in context.settings.sources.items()}
    since, now = optional_seconds(query.since), context.clock.now()

    def read(connection: Connection) -> ApiResponse:
        return ApiResponse(200, usage_list_of(read_usage(connection, budgets, since, query.source, now), query.limit))

    return await context.database.read_list(read)


def usage_list_of(found: UsageFound, limit: int) -> UsageList:
    """What was found, as a response."""
    return UsageList(
        items=[usage_of_day(row) for row in found.rows[:limit]],
        days=len(found.rows),
        since=date.fromisoformat(found.since),
        budgets=[budget_of(state) for state in found.budgets],
    )


def usage_of_day(row: UsageRow) -> UsageOfDay:
    """A row of `store.usage`."""
    used = row.used._asdict() | {"credits": credits_text(row.used.credits)}
    return UsageOfDay(day=date.fromisoformat(row.day), source=row.source, **used)


def budget_of(state: BudgetState) -> Budget:
    """The state of a budget."""
    return Budget(
        source=state.source,
        day=date.fromisoformat(state.day),
        characters_per_day=state.budget.characters_per_day,
        characters=state.used.characters,
        credits_per_day=_text(state.budget.credits_per_day),
        credits=credits_text(state.used.credits),
        resets_at=state.resets_at,
    )


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else credits_text(amount)
