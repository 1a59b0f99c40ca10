"""The tables of a source about what is spent: its budget, and where the service says what is left."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from receiver.model.charge import MAX_DECIMALS
from receiver.providers.api_path import check_api_path
from receiver.settings.base import Table
from receiver.settings.generic import JsonPathText


class AmountTable(Table):
    """An amount that the service reports: a path below `base_url`, and the number's place in the response."""

    path: Annotated[str, AfterValidator(check_api_path)]
    value: JsonPathText


class BudgetTable(Table):
    """What a source may spend in a day (UTC): a submit that exceeds it is refused before it is sent."""

    characters_per_day: Annotated[int, Field(ge=1, le=10**15)] | None = None
    credits_per_day: Annotated[Decimal, Field(gt=0, le=10**15, decimal_places=MAX_DECIMALS)] | None = None

    @model_validator(mode="after")
    def _check(self) -> BudgetTable:
        if self.characters_per_day is None and self.credits_per_day is None:
            raise ValueError("characters_per_day: is missing, and so is credits_per_day; a budget limits one or both")
        return self
