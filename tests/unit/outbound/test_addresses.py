"""Where redirects lead, and how addresses are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import AudioRefused
from receiver.outbound.addresses import next_hop, shown, where
from receiver.providers.base import origin_of

HERE = "https://provider.example/api/v1/tts/j/audio?x=1"


def followed(location: str) -> str | AudioRefused:
    try:
        return next_hop(HERE, location)
    except AudioRefused as error:
        return error


@given(
    st.text(max_size=60)
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)
    | st.text("htps:/@?#[]%.\\\\a1", max_size=30).map(lambda rest: "https://" + rest)
)
def test_any_location_leads_to_a_web_address_or_is_refused(location: str) -> None:
    end = followed(location)
    if isinstance(end, AudioRefused):
        assert end.reason == "bad_redirect"
    else:
        assert origin_of(end) is not None
        assert "#" not in end


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/x", "https://provider.example/x"),
        ("other", "https://provider.example/api/v1/tts/j/other"),
        ("//storage.example/x", "https://storage.example/x"),
        ("https://storage.example/a%2Fb/../c?sig=a%2Bb&e=#frag", "https://storage.example/a%2Fb/../c?sig=a%2Bb&e="),
        ("?y=2", "https://provider.example/api/v1/tts/j/audio?y=2"),
    ],
)
def test_a_location_is_resolved_and_an_absolute_one_is_left_as_it_is(location: str, target: str) -> None:
    assert followed(location) == target


@given(st.text(max_size=100), st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=8, max_size=20))
def test_no_query_and_no_password_is_ever_shown(path: str, secret: str) -> None:
    assert secret not in where(f"https://user:{secret}@h.example/?{path}{secret}")
    assert secret not in shown(f"see https://h.example/{'?'}{secret}", 500)


@given(st.text())
def test_anything_is_shown_as_printable_ascii(text: str) -> None:
    assert where(text).isascii()
    assert shown(text, 50).isascii()
    assert shown(text, 50).isprintable()
    assert len(shown(text, 50)) <= 50
