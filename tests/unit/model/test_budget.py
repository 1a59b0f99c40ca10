"""Which jobs a daily budget refuses, at its limit."""

from __future__ import annotations

import pytest

from receiver.model.budget import Budget, Usage, refusal

NOW = 1_700_000_000.0
BUDGET = Budget(characters_per_day=10)


@pytest.mark.parametrize(("used", "characters", "requested"), [(10, 0, None), (15, 0, None), (10, 1, 1), (0, 11, 11)])
def test_what_is_above_the_budget_is_refused(used: int, characters: int, requested: int | None) -> None:
    refused = refusal(BUDGET, Usage(1, used), "aitts", characters, NOW)
    assert refused is not None
    assert (refused.unit, refused.used, refused.requested) == ("characters", str(used), requested)
    assert (refused.retry_after is None) == (characters > 10)
    assert " has 0 characters" not in str(refused)


@pytest.mark.parametrize(("used", "characters"), [(9, 0), (9, 1), (0, 10), (0, 0)])
def test_what_has_a_place_is_not_refused(used: int, characters: int) -> None:
    assert refusal(BUDGET, Usage(1, used), "aitts", characters, NOW) is None
