"""Which metadata is indexed, and what a filter may ask for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.metadata import (
    MAX_PAIRS,
    MAX_VALUE_CHARACTERS,
    indexed_pairs,
    indexed_text,
    key_problem,
    parse_pairs,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("acme", "acme"), ("", ""), (" Ä ", " Ä "), (7, "7"), (-7, "-7"), (0.5, "0.5"), (1e22, "1e+22"), (True, "true"),
        (False, "false"), (None, None), ([], None), ({"a": 1}, None), (float("inf"), None), (float("nan"), None),
        ("a\0", None), ("\ud800", None), ("x" * 256, "x" * 256), ("x" * 257, None), (10**300, None),
    ],
)  # fmt: skip
def test_texts_are_indexed_as_they_are_numbers_and_booleans_as_in_json(value: Any, text: str | None) -> None:
    assert indexed_text(value) == text


def test_a_number_that_python_would_not_write_is_not_indexed() -> None:
    assert indexed_text(10**5000) is None


@given(value=JSON)
def test_what_is_indexed_can_be_stored_and_asked_for(value: Any) -> None:
    text = indexed_text(value)
    if text is not None:
        assert len(text.encode()) <= 4 * MAX_VALUE_CHARACTERS
        assert "\0" not in text
        assert parse_pairs([f"key={text}"]) == (("key", text),)
        assert isinstance(value, str) or json.loads(text) == value


@given(metadata=JSON, keys=st.lists(st.text(max_size=5), max_size=3))
def test_the_pairs_of_any_metadata_have_configured_keys_alone(metadata: Any, keys: list[str]) -> None:
    assert {key for key, _ in indexed_pairs(metadata, keys)} <= set(keys)


def test_pairs_are_in_the_order_of_the_keys_and_only_of_the_first_level() -> None:
    metadata = {"project": 7, "customer": "acme", "other": "x", "nested": {"customer": "globex"}}
    assert indexed_pairs(metadata, ("customer", "project", "nested", "none")) == (
        ("customer", "acme"),
        ("project", "7"),
    )


def test_a_pair_of_a_filter_is_a_key_and_all_that_follows_the_first_equals_sign() -> None:
    assert parse_pairs(["customer=a=b", "empty=", "customer=a=b"]) == (("customer", "a=b"), ("empty", ""))


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (["customer"], "not KEY=VALUE"),
        (["=acme"], "not KEY=VALUE"),
        (["customer=" + "x" * 257], "longer than 256"),
        (["customer=\udcff"], "no stored value"),
        ([f"k{n}=v" for n in range(MAX_PAIRS + 1)], "at most 4 pairs"),
    ],
)
def test_a_filter_that_nothing_can_match_is_an_error(texts: list[str], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_pairs(texts)


@pytest.mark.parametrize("key", ["customer", "a b", "Kunde.Größe", "x" * 64])
def test_a_key_may_be_any_printable_text(key: str) -> None:
    assert key_problem(key) is None


@pytest.mark.parametrize("key", ["", "x" * 65, "a=b", " a", "a ", "a\n", "a\0"])
def test_a_key_that_could_not_be_asked_for_is_refused(key: str) -> None:
    assert key_problem(key) is not None
