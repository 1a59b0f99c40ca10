"""Event ids are UUIDv7: made before the commit, sorting by time."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.ids import event_id, first_id_at, is_client_key, is_submit_key, new_submit_key

_MILLISECONDS = st.integers(0, (1 << 48) - 1)
_BITS = st.integers(0, (1 << 74) - 1)


@given(milliseconds=_MILLISECONDS, bits=_BITS)
def test_an_id_has_the_fields_of_a_uuid_version_7(milliseconds: int, bits: int) -> None:
    made = event_id((milliseconds + 0.5) / 1000, bits)
    prefix, _, digits = made.partition("_")
    assert (prefix, len(made), made) == ("evt", 36, made.lower())
    read = uuid.UUID(hex=digits)
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert read.int >> 80 == milliseconds
    assert (read.int >> 64 & 0xFFF) << 62 | read.int & (1 << 62) - 1 == bits, "every random bit is kept"


@given(early=_MILLISECONDS, later=_MILLISECONDS, bits=st.tuples(_BITS, _BITS))
def test_ids_sort_by_time_to_the_millisecond(early: int, later: int, bits: tuple[int, int]) -> None:
    if early < later:
        assert event_id((early + 0.5) / 1000, bits[0]) < event_id((later + 0.5) / 1000, bits[1])


@given(milliseconds=_MILLISECONDS, bits=_BITS)
def test_the_first_id_of_a_time_is_not_above_any_id_of_it_and_above_all_before(milliseconds: int, bits: int) -> None:
    first = first_id_at((milliseconds + 0.5) / 1000)
    assert first <= event_id((milliseconds + 0.5) / 1000, bits)
    if milliseconds:
        assert event_id((milliseconds - 0.5) / 1000, bits) < first


@given(bits=st.integers(0, 1 << 200))
def test_more_random_bits_than_needed_are_cut_off(bits: int) -> None:
    assert event_id(1_700_000_000, bits) == event_id(1_700_000_000, bits & (1 << 74) - 1)


@given(bits=st.integers(0, 1 << 200))
def test_a_submit_key_is_a_uuid_version_4(bits: int) -> None:
    made = new_submit_key(bits)
    read = uuid.UUID(made)
    assert (str(read), read.version, read.variant) == (made, 4, uuid.RFC_4122)
    assert is_submit_key(made)
    assert is_submit_key(made.upper())


_V4 = "0b2f7f3e-9c1d-4e5a-8b6f-1a2b3c4d5e6f"


@pytest.mark.parametrize(
    "text",
    [
        "", "order-42", _V4[1:], f" {_V4}", f"{_V4}\n", f"{{{_V4}}}", f"urn:uuid:{_V4}", _V4.replace("-", ""),
        _V4.replace("-4", "-1"), _V4.replace("-8b", "-cb"), _V4.replace("0b", "0g"), str(uuid.UUID(int=0)),
    ],
)  # fmt: skip
def test_no_other_text_is_sent_as_a_submit_key(text: str) -> None:
    assert is_submit_key(_V4)
    assert not is_submit_key(text)


@pytest.mark.parametrize(
    ("key", "usable"),
    [("a", True), ("a b", True), ("x" * 255, True), (_V4, True), ("", False), (" a", False), ("a ", False),
     ("x" * 256, False), ("a\n", False), ("a\nb", False), ("é", False)],
)  # fmt: skip
def test_a_client_key_is_visible_ascii(key: str, usable: bool) -> None:
    assert is_client_key(key) == usable


def test_a_known_id_stays_the_same() -> None:
    assert event_id(1_700_000_000.123, 0) == "evt_018bcfe5687b70008000000000000000"
