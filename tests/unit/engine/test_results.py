"""A handler's result as JSON: what fits is kept as it is, and nothing is too strange to be kept somehow."""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.engine.results import MAX_RESULT_BYTES, bounded_json

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=50)
PYTHON = st.recursive(
    _SCALARS | st.floats() | st.binary() | st.decimals() | st.datetimes() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner).map(tuple) | st.lists(inner).map(deque) | st.lists(inner).map(iter)
        | st.frozensets(_SCALARS) | st.dictionaries(_SCALARS | st.tuples(_SCALARS), inner)
    ),
    max_leaves=50,
)  # fmt: skip


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Point(NamedTuple):
    x: int
    y: int


@given(value=JSON)
def test_json_values_are_kept_as_they_are(value: Any) -> None:
    assert bounded_json(value) == value


@given(value=PYTHON)
def test_whatever_is_returned_can_be_written_as_json_within_the_bound(value: Any) -> None:
    written = json.dumps(bounded_json(value), allow_nan=False)
    assert len(written) <= 6 * MAX_RESULT_BYTES  # where each character is escaped


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Colour.RED, "red"),
        ([Level.HIGH], [3]),
        (Point(1, 2), [1, 2]),
        (MappingProxyType({"a": [1]}), {"a": [1]}),
        ({1: "one", None: 2, (1, 2): 3}, {"1": "one", "None": 2, "(1, 2)": 3}),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        (Decimal("1.50"), "1.50"),
        (PurePosixPath("/a"), "/a"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([shared := [1], shared], [[1], [1]]),  # twice beside each other is no circle
        (10**300, 10**300),
    ],
)
def test_what_becomes_of_common_types(value: Any, kept: Any) -> None:
    assert bounded_json(value) == kept
