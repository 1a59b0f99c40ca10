"""What is made of a request's bytes, without a connection: also of bytes that are none."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.web.http.limits import MAX_HEADERS
from receiver.web.http.parser import Head, RequestParser, RequestRefused

VALID = (
    b"POST /webhooks/aitts?a=b HTTP/1.1\r\nHost: a.example\r\nX-TTS-Signature: t=1,v1=00\r\nContent-Length: 4\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    b"GET http://a/b HTTP/1.0\r\n\r\n",
)
PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b":",
        b" ",
        b"\t",
        b"\0",
        b"\x80",
        b"Upgrade: h2c\r\n",
        b"Content-Length: 5\r\n",
        b"\r\nHost: b",
    ]
)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A valid head with something put in, taken out or changed."""
    head = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(head)))
        until = min(len(head), at + draw(st.integers(0, 6)))
        head[at:until] = draw(PIECES | st.binary(max_size=3))
    return bytes(head) + b"\r\n\r\n"


def read(head: bytes) -> Head | None:
    return RequestParser().read_head(head)


STATUSES = {400, 414, 431, 501, 505}


def read_or_status(head: bytes) -> Head | int | None:
    """The head, or with which status it is refused."""
    try:
        return read(head)
    except RequestRefused as refused:
        return refused.status


@given(spoilt() | st.binary(max_size=200).map(lambda text: text + b"\r\n\r\n"))
def test_whatever_comes_is_a_head_or_refused_with_a_status(head: bytes) -> None:
    found = read_or_status(head[: head.index(b"\r\n\r\n") + 4])
    if not isinstance(found, Head):
        assert found is None or found in STATUSES
        return
    assert [name for name, _ in found.headers].count(b"host") == 1 or found.version == "1.0"
    assert not any(byte in value for _, value in found.headers for byte in b"\r\n\0")
    assert all(name == name.lower() and name for name, _ in found.headers)


@given(spoilt())
def test_what_is_taken_for_a_head_another_parser_takes_for_the_same(head: bytes) -> None:
    """h11 is stricter in a few places and never reads anything else."""
    head = head[: head.index(b"\r\n\r\n") + 4]
    ours = read_or_status(head)
    if not isinstance(ours, Head):
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(head)
    try:
        theirs = other.next_event()
    except h11.RemoteProtocolError:
        return
    if not isinstance(theirs, h11.Request):
        return
    assert (ours.method.encode(), ours.version.encode()) == (theirs.method, theirs.http_version)
    of_theirs = [(name, value) for name, value in theirs.headers if name != b"upgrade"]
    of_ours = [(name, value) for name, value in ours.headers if name != b"upgrade"]
    if len(of_theirs) == len(of_ours):  # h11 folds repeated equal lengths and continued lines into one
        assert of_ours == of_theirs


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_a_body_that_is_chunked_badly_is_refused_or_waited_for(rubbish: bytes, steps: list[int]) -> None:
    parser = RequestParser()
    assert parser.read_head(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n") is not None
    left = rubbish
    for step in steps:
        if parser.whole or not left:
            break
        piece, left = left[:step], left[step:]
        try:
            _, rest = parser.read_body(piece)
        except RequestRefused:
            break
        assert piece.endswith(rest)
        left = rest + left


@pytest.mark.parametrize("lines", [MAX_HEADERS - 1, MAX_HEADERS])
def test_lines_are_counted_with_the_host(lines: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * lines + b"\r\n"
    if lines < MAX_HEADERS:
        found = read(head)
        assert found is not None
        assert len(found.headers) == MAX_HEADERS
    else:
        with pytest.raises(RequestRefused, match="head_too_long"):
            read(head)


def test_a_head_is_told_apart_from_empty_lines() -> None:
    parser = RequestParser()
    assert parser.read_head(b"\r\n\r\n") is None
    assert parser.whole
    found = parser.read_head(b"GET /a%20b?c=d HTTP/1.1\r\nhost: a\r\nExpect: 100-Continue\r\n\r\n")
    assert found is not None
    assert (found.path, found.target_path, found.query) == ("/a b", b"/a%20b", b"c=d")
    assert found.expects_continue
    assert parser.whole
