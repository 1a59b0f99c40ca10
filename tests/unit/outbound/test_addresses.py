"""Where redirects lead, and how addresses are shown."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.errors import UnusableAddress
from receiver.model.redact import ELLIPSIS
from receiver.outbound.addresses import redacted_text, redacted_url, redirect_target
from receiver.providers.base import origin_of

HERE = "https://provider.example/api/v1/tts/j/audio?x=1"


def followed(*locations: str | bytes) -> str | UnusableAddress:
    try:
        return redirect_target(
            HERE, [one if isinstance(one, bytes) else one.encode(errors="replace") for one in locations]
        )
    except UnusableAddress as error:
        return error


@given(
    st.text(max_size=60)
    | st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda rest: b"https://h.example/" + rest)
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)
    | st.text("htps:/@?#[]%.\\\\a1", max_size=30).map(lambda rest: "https://" + rest)
)
def test_any_location_leads_to_a_web_address_or_is_refused(location: str | bytes) -> None:
    end = followed(location)
    if isinstance(end, UnusableAddress):
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
    assert followed(location, location) == target


@pytest.mark.parametrize(
    ("location", "target"),
    [
        (b" /my audio.wav?a=1 2\t", "https://provider.example/my%20audio.wav?a=1%202"),
        ("https://storage.example/grüße.wav?x=%C3%BC", "https://storage.example/gr%C3%BC%C3%9Fe.wav?x=%C3%BC"),
        (b"//storage.example/gr\xfc\xdfe.wav", "https://storage.example/gr%FC%DFe.wav"),
        ("https://bücher.example/ü", "https://bücher.example/%C3%BC"),
    ],
)
def test_a_raw_space_and_bytes_above_ascii_are_percent_encoded(location: str | bytes, target: str) -> None:
    assert followed(location) == target


@pytest.mark.parametrize(
    "locations",
    [
        ("https://exa mple.org/", ),
        (b"https://\xfc.example/",),
        ("/a\x7fb",),
        ("/a", "/b"),
        ("/a\x00",),
        ("/ä\\b",),
    ],
)  # fmt: skip
def test_what_cannot_be_made_an_address_is_still_refused(locations: tuple[str | bytes, ...]) -> None:
    assert isinstance(followed(*locations), UnusableAddress)


@given(st.text(max_size=100), st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=8, max_size=20))
def test_no_query_and_no_password_is_ever_shown(path: str, secret: str) -> None:
    assert secret not in redacted_url(f"https://user:{secret}@h.example/?{path}{secret}")
    assert secret not in redacted_text(f"see https://h.example/{'?'}{secret}", 500)


@given(st.text())
@example("0" * 400)
def test_anything_is_shown_as_printable_ascii_and_an_ellipsis_if_it_is_long(text: str) -> None:
    for shown in (redacted_url(text), redacted_text(text, 50)):
        assert shown.removesuffix(ELLIPSIS).isascii()
        assert shown.isprintable()
    assert len(redacted_text(text, 50)) <= 50
