"""The daily budget of a source: how much may be spent in a day (UTC), and the refusal of what would exceed it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from receiver.errors import ReceiverError
from receiver.model.charge import credits_text
from receiver.model.timestamps import utc

Unit = Literal["characters", "credits"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a source may spend in a day; None for no limit."""

    characters_per_day: int | None = None
    credits_per_day: Decimal | None = None


class Usage(NamedTuple):
    """What jobs have used, or one job.

    Attributes:
        jobs: those that the provider accepted, or may accept.
        characters: as the provider charged them; the length of the text until, or unless, it says.
        reserved: of these characters, those of which the provider has not said that it charged them.
        credits: as the provider charged them.
    """

    jobs: int = 0
    characters: int = 0
    reserved: int = 0
    credits: Decimal = Decimal(0)


class BudgetExceeded(ReceiverError):
    """A job was refused before it was stored or sent, because of the source's daily budget.

    Attributes:
        unit: `characters` or `credits`.
        used: how much of the day's budget is used, a decimal number as text; so is `limit`.
        requested: the characters of the refused text; None for credits, and for a task without a text: how much those
            use is known only later.
        resets_at: when the UTC day ends.
        retry_after: seconds until then; None if the text alone exceeds the budget.
    """

    reason = "budget_exceeded"

    def __init__(
        self, source: str, unit: Unit, used: Decimal, limit: Decimal, requested: int | None, now: float, *, fits: bool
    ) -> None:
        self.unit: Unit = unit
        self.requested = requested
        self.used, self.limit = credits_text(used), credits_text(limit)
        self.resets_at = day_end(now)
        self.retry_after = max(1, round(self.resets_at.timestamp() - now)) if fits else None
        setting = f"sources.{source}.budget.{unit}_per_day"
        until = self.resets_at.strftime("%Y-%m-%d %H:%M UTC")
        if not fits:
            what = f"this text has {requested:,} characters, more than the budget of a whole day. Raise {setting}."
        elif requested is None:
            what = f"they are used up until the day ends at {until}. Wait until then, or raise {setting}."
        else:
            what = (
                f"this text has {requested:,} characters. The day ends at {until}. Wait until then, or raise {setting}."
            )
        spent = f"{used:,f} of {limit:,f} {unit} of today are used"
        super().__init__(f"The budget of {source} is exceeded: {spent}, and {what}")


def refusal(budget: Budget, used: Usage, source: str, characters: int, now: float) -> BudgetExceeded | None:
    """Why a job with so many characters exceeds the budget; None if it does not.

    Credits are compared with what was spent: how many a job will cost is not known before its end. So are characters
    if there is no text.

    Args:
        characters: of the text; 0 for a task without one.
    """
    limit = budget.characters_per_day
    if limit is not None and used.characters + max(characters, 1) > limit:
        fits = characters <= limit
        requested = characters or None
        return BudgetExceeded(source, "characters", Decimal(used.characters), Decimal(limit), requested, now, fits=fits)
    credits = budget.credits_per_day
    if credits is not None and used.credits >= credits:
        return BudgetExceeded(source, "credits", used.credits, credits, None, now, fits=True)
    return None


def day_of(at: float) -> str:
    """The day (UTC) of a unix time, such as `2026-11-27`."""
    return utc(at).date().isoformat()


def day_end(at: float) -> datetime:
    """When the UTC day of a unix time ends."""
    day = utc(at).date()
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
