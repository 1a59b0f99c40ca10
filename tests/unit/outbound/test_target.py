"""An address is read as httpx reads it, or refused."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import UnusableAddress
from receiver.outbound.addresses import Target
from receiver.providers.base import origin_of

PARTS = ["https://", "http://", "h.example", "1.2.3.4", "xn--bcher-kva.example", "bücher.example", ":443", ":80", ":0"]
PARTS += [
    ":8080",
    ":65535",
    ":65536",
    ":99999",
    "/",
    "/a",
    "/..",
    "/./b",
    "%2F",
    "%2f",
    "%",
    "%G1",
    "?",
    "?x=1",
    "&y=+~",
]
PARTS += [
    "'",
    '"',
    "`",
    "{",
    "|",
    "^",
    "<",
    "@",
    ":",
    "[::1]",
    "\\",
    " ",
    "é",
    "-",
    ".",
    "_",
    "#f",
    "$",
    "!",
    "*",
    ";",
    "A",
]


@given(
    st.lists(st.sampled_from(PARTS), max_size=8).map("".join)
    | st.lists(st.sampled_from(PARTS), max_size=8).map(lambda parts: "https://h.example" + "".join(parts))
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60).map(lambda rest: "https://h/" + rest)
)
def test_any_address_is_read_as_httpx_reads_it_or_refused(url: str) -> None:
    try:
        target = Target.of(url)
    except UnusableAddress:
        return
    read = httpx.URL(url)
    assert (target.scheme, target.host.encode(), target.path.encode()) == (read.scheme, read.raw_host, read.raw_path)
    assert target.port == (read.port or {"http": 80, "https": 443}[read.scheme])
    assert target.host_header.encode() == read.netloc
    origin = origin_of(url)
    assert origin is not None
    assert (origin[0], origin[2]) == (target.scheme, target.port)


@pytest.mark.parametrize(
    "url", ["https://a.example\\@b.example/", "https://key@h.example/", "ftp://h/", "https://", "/x"]
)
def test_an_address_that_two_parsers_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(UnusableAddress):
        Target.of(url)


@pytest.mark.parametrize("host", ["xn--bcher-kva.example%2F", "xn--a", "xn--\u00fc.example", "xn--zzzzzz99999.example"])
def test_a_host_that_is_no_international_name_is_refused(host: str) -> None:
    with pytest.raises(UnusableAddress):
        Target.of(f"https://{host}/a")


def test_a_signed_address_is_sent_as_it_is() -> None:
    url = "https://storage.example/b/audio%2Fj.wav?X-Goog-Expires=86400&X-Goog-Signature=0a%2B~"
    assert Target.of(url) == Target(
        "https",
        "storage.example",
        443,
        "storage.example",
        "/b/audio%2Fj.wav?X-Goog-Expires=86400&X-Goog-Signature=0a%2B~",
    )
