"""Exact amounts in responses, and the refusal of a job that exceeds a budget."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from receiver.model.budget import BudgetExceeded
from receiver.web.api.fields import ResponseModel
from receiver.web.api.problems import ProblemError

Amount = Annotated[
    str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$", description="A decimal number as text, so that it is exact.")
]


class ExceededBudget(ResponseModel):
    """A daily budget of a source, and what it has no place for."""

    unit: Literal["characters", "credits"]
    used: Amount
    limit: Amount
    requested: Annotated[int | None, Field(description="Characters of the text; null for credits, or without a text.")]
    resets_at: Annotated[datetime, Field(description="The end of the day (UTC).")]


def over_budget(error: BudgetExceeded) -> ProblemError:
    """The problem of a job that has no place today; 422 if it has none on any day, and no wait helps."""
    exceeded = ExceededBudget(
        unit=error.unit,
        used=error.used,
        limit=error.limit,
        requested=error.requested,
        resets_at=error.resets_at,
    )
    headers = None if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    extensions = {"budget": exceeded.model_dump(mode="json")}
    status = 422 if error.retry_after is None else 429
    return ProblemError(status, str(error), reason=error.reason, headers=headers, extensions=extensions)
