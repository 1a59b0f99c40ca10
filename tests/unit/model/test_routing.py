"""Conditions on events: what they accept, how long that takes, and what an operator reads."""

from __future__ import annotations

import fnmatch
import json
import warnings
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from receiver.errors import ConfigError
from receiver.model.routing import (
    MAX_GLOB_CHARACTERS,
    MAX_GLOBBED_CHARACTERS,
    MAX_SHOWN_CHARACTERS,
    Condition,
    first_mismatch,
    is_glob,
    meets,
    parse_where,
)

SCALARS = st.text(max_size=20) | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
JSON = st.recursive(
    st.none() | SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
TABLES = st.recursive(
    SCALARS | st.lists(SCALARS, min_size=1, max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=5), inner, min_size=1, max_size=3),
    max_leaves=10,
)


def matches(where: dict[str, Any], type: str = "job.completed", source: str = "aitts", **payload: Any) -> bool:
    conditions = parse_where(where)
    met = meets(conditions, type, source, payload)
    assert met is (first_mismatch(conditions, type, source, payload) is None)
    return met


def problems(where: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as raised:
        parse_where(where)
    return {problem.where: problem.what for problem in raised.value.problems}


# equality


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        ("acme", "acme", True),
        ("acme", "Acme", False),
        ("acme", "acme ", False),
        (7, 7, True),
        (7, 7.0, True),  # JSON has one type of numbers
        (7, "7", False),
        ("7", 7, False),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        (False, 0, False),
        (0.1, 0.1, True),
        ("", "", True),
        ("acme", None, False),
        ("acme", ["acme"], False),
        ("acme", {"acme": True}, False),
    ],
)
def test_a_value_matches_if_it_is_equal_and_of_the_same_type(wanted: Any, value: Any, expected: bool) -> None:
    assert matches({"metadata": {"customer": wanted}}, metadata={"customer": value}) is expected


@given(SCALARS, JSON)
def test_only_an_equal_value_of_the_same_json_type_matches_a_plain_value(wanted: Any, value: Any) -> None:
    assume(not is_glob(wanted))
    same_type = isinstance(wanted, bool) == isinstance(value, bool) and isinstance(wanted, str) == isinstance(
        value, str
    )
    assert Condition(("metadata", "k"), (wanted,)).accepts(value) is (same_type and wanted == value)


@given(st.lists(SCALARS, min_size=1, max_size=4), JSON)
def test_a_list_matches_if_any_of_its_values_does(wanted: list[Any], value: Any) -> None:
    one_by_one = [Condition(("metadata", "k"), (item,)).accepts(value) for item in wanted]
    assert Condition(("metadata", "k"), tuple(wanted)).accepts(value) is any(one_by_one)


# all conditions


def test_all_conditions_must_match() -> None:
    where = {"source": ["aitts", "other"], "type": "job.*", "metadata": {"customer": "acme", "plan": {"tier": [1, 2]}}}
    metadata = {"customer": "acme", "plan": {"tier": 2, "since": 2024}, "more": []}
    assert matches(where, metadata=metadata)
    assert not matches(where, source="third", metadata=metadata)
    assert not matches(where, type="test", metadata=metadata)
    assert not matches(where, metadata=metadata | {"customer": "globex"})
    assert not matches(where, metadata=metadata | {"plan": {"tier": 3}})


@pytest.mark.parametrize("metadata", [None, "acme", [], ["customer"], {}, {"customer": None}, {"plan": "customer"}])
def test_metadata_that_is_missing_or_not_an_object_matches_no_condition_on_it(metadata: Any) -> None:
    assert not matches({"metadata": {"customer": "*"}}, metadata=metadata)
    assert not matches({"metadata": {"plan": {"customer": "*"}}}, metadata=metadata)
    assert not matches({"metadata": {"customer": "*"}})


@given(TABLES, JSON)
def test_any_table_is_checked_against_any_metadata(table: Any, metadata: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            where = parse_where({"metadata": {"k": table}})
        except ConfigError:
            return
    mismatch = first_mismatch(where, "test", "aitts", {"metadata": metadata})
    assert mismatch is None or str(mismatch)


@given(st.dictionaries(st.text(max_size=5), SCALARS, min_size=1, max_size=5))
def test_metadata_matches_conditions_that_state_its_own_plain_values(metadata: dict[str, Any]) -> None:
    assume(not any(is_glob(value) for value in metadata.values()))
    assert matches({"metadata": metadata}, metadata=json.loads(json.dumps(metadata)))


def test_conditions_may_be_nested_deeper_than_python_calls() -> None:
    table: Any = "acme"
    for _ in range(3000):
        table = {"k": table}
    assert matches({"metadata": table}, metadata=table)
    assert not matches({"metadata": table}, metadata={"k": {"k": "acme"}})


# globs


@pytest.mark.parametrize(
    ("glob", "value", "expected"),
    [
        ("acme-*", "acme-", True),
        ("acme-*", "acme-eu\n1", True),
        ("acme-*", "ACME-eu", False),
        ("acme-*", "the acme-eu", False),
        ("*-eu", "acme-eu", True),
        ("v?", "v1", True),
        ("v?", "v", False),
        ("[a-c]1", "b1", True),
        ("[!a-c]1", "b1", False),
        ("[*]", "*", True),
        ("[*]", "a", False),
        ("*", "", True),
        ("*", 7, False),
        ("*", True, False),
        ("[7]", 7, False),
    ],
)
def test_a_glob_matches_whole_texts_and_only_texts(glob: str, value: Any, expected: bool) -> None:
    assert matches({"metadata": {"k": glob}}, metadata={"k": value}) is expected


@given(st.text("ab*?[]!-^&|~\\", max_size=12), st.text("ab*?[]!-^&|~\\", max_size=12))
def test_a_glob_means_what_it_means_in_fnmatch(glob: str, value: str) -> None:
    assume(is_glob(glob))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            [condition] = parse_where({"metadata": {"k": glob}})
        except ConfigError:
            assert not fnmatch.fnmatchcase(value, glob)
        else:
            assert condition.accepts(value) is fnmatch.fnmatchcase(value, glob)


def test_a_text_above_the_limit_matches_no_glob_and_still_equals_itself() -> None:
    long = "a" * (MAX_GLOBBED_CHARACTERS + 1)
    assert not matches({"metadata": {"k": "a*"}}, metadata={"k": long})
    assert matches({"metadata": {"k": "a*"}}, metadata={"k": long[:-1]})
    assert matches({"metadata": {"k": long}}, metadata={"k": long})


@pytest.mark.parametrize("unit", ["*a", "?*", "*[ab]", "*aa?", "a*"])
def test_the_worst_globs_and_texts_are_matched_at_once(unit: str) -> None:
    """Without bounds, or with a matcher that tries every division of the text, this would not return in years."""
    glob = (unit * MAX_GLOB_CHARACTERS)[: MAX_GLOB_CHARACTERS - 2] + "*b"
    for length in range(MAX_GLOBBED_CHARACTERS - 3, MAX_GLOBBED_CHARACTERS + 1):
        assert not matches({"metadata": {"k": glob}}, metadata={"k": "a" * length})


# tables that are no conditions


def test_every_faulty_key_is_named_at_once() -> None:
    faulty = {
        "sorce": "aitts",
        "source": 7,
        "type": [],
        "metadata": {
            "a": {},
            "b": [[1]],
            "c": None,
            "d": float("nan"),
            "e": "[z-a]",
            "f": "*" * (MAX_GLOB_CHARACTERS + 1),
            "g": {"h": [True, {"i": 1}]},
        },
    }
    assert problems(faulty) == {
        "where.sorce": "is not a condition; there is: source, type, metadata",
        "where.source": "must be a text, or a list of texts",
        "where.type": "is an empty list, which no event matches",
        "where.metadata.a": "has no condition; remove it to match every event",
        "where.metadata.b": "must be a text, a number, true or false, or a list of these",
        "where.metadata.c": "must be a text, a number, true or false, or a list of these",
        "where.metadata.d": "must be a text, a number, true or false, or a list of these",
        "where.metadata.e": 'has a range that contains no character: "[z-a]"',
        "where.metadata.f": f"is a pattern of more than {MAX_GLOB_CHARACTERS} characters",
        "where.metadata.g.h": "must be a text, a number, true or false, or a list of these",
    }


@pytest.mark.parametrize(
    ("table", "where", "what"),
    [
        ({}, "where", "has no condition; remove it to match every event"),
        ("aitts", "where", "must be a table of conditions"),
        ({"source": ""}, "where.source", "must be a text, or a list of texts"),
        ({"source": {"name": "aitts"}}, "where.source", "must be a text, or a list of texts"),
        (
            {"metadata": "acme"},
            "where.metadata",
            'must be a table of keys of the metadata, such as {customer = "acme"}',
        ),
        ({"metadata": {7: "acme"}}, "where.metadata", "has a key that is not a text"),
    ],
)
def test_a_table_that_would_not_mean_what_it_seems_to_is_refused(table: Any, where: str, what: str) -> None:
    assert problems(table) == {where: what}


# what an operator reads


def test_conditions_are_shown_as_toml() -> None:
    where = parse_where({"source": "aitts", "metadata": {"plan": {"a tier": [1, True, "x*"]}}})
    assert [str(condition) for condition in where] == [
        'source = "aitts"',
        'metadata.plan."a tier" = [1, true, "x*"]',
    ]


@pytest.mark.parametrize(
    ("where", "payload", "text"),
    [
        ({"source": "other"}, {}, 'source is "aitts", not "other"'),
        ({"type": ["a", "b"]}, {}, 'type is "job.completed", not one of "a", "b"'),
        ({"metadata": {"k": 7}}, {"metadata": {"k": "7"}}, 'metadata.k is "7", not 7'),
        ({"metadata": {"k": 7}}, {}, "metadata.k is missing or null, not 7"),
        ({"metadata": {"k": 7}}, {"metadata": {"k": "\x1b\n\u202e"}}, 'metadata.k is "\\u001b\\n\\u202e", not 7'),
    ],
)
def test_the_first_condition_that_fails_is_named_with_the_events_value(
    where: dict[str, Any], payload: dict[str, Any], text: str
) -> None:
    assert str(first_mismatch(parse_where(where), "job.completed", "aitts", payload)) == text


@given(JSON, st.lists(SCALARS, min_size=1, max_size=50))
def test_the_text_of_a_mismatch_is_short_and_printable(value: Any, wanted: list[Any]) -> None:
    mismatch = first_mismatch(
        (Condition(("metadata", "k"), tuple(wanted)),), "test", "aitts", {"metadata": {"k": value}}
    )
    if mismatch is not None:
        text = str(mismatch)
        assert text.isprintable()
        assert len(text) < 12 * MAX_SHOWN_CHARACTERS  # each character may be escaped
