"""A body that was written anew, or changed as text, is among the bodies that it may have been."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.body_candidates import MAX_JSON_BYTES, body_candidates

EXACT = '{"n":[1,2.50,2e3,1E-5]}'
SENT = '{"event":"job.completed","data":{"job_id":"j/1","text":"Grüße <b>","speed":1.0,"tags":[],"n":[1,2.5]}}'
DOCUMENT = json.loads(SENT)

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
spacing = st.sampled_from(
    [{"separators": (",", ":")}, {}, {"indent": 2}, {"indent": 4}, {"separators": (",", ":"), "sort_keys": True}]
)


def what(sent: bytes, received: bytes) -> str | None:
    """How the body that was sent is described; None if it is not found."""
    return next((original.what for original in body_candidates(received) if original.body == sent), None)


@given(document=documents, sent=spacing, received=spacing, ascii=st.tuples(st.booleans(), st.booleans()))
def test_json_that_a_library_wrote_anew_is_found(
    document: Any, sent: dict[str, Any], received: dict[str, Any], ascii: tuple[bool, bool]
) -> None:
    received = {**received, "sort_keys": sent.get("sort_keys", False)}  # an order that was lost cannot be found again
    before, after = (
        json.dumps(document, ensure_ascii=own, **style).encode(errors="surrogatepass")
        for own, style in zip(ascii, (sent, received), strict=True)
    )
    assert before == after or what(before, after) is not None


def test_numbers_are_kept_as_they_are_written() -> None:
    assert what(EXACT.encode(), EXACT.replace(",", " ,\t").encode()) == (
        "the same JSON written compact, letters beyond ASCII as they are"
    )


@pytest.mark.parametrize("written", [json.dumps(DOCUMENT, indent=2) + "\n", "\ufeff" + json.dumps(DOCUMENT)])
def test_white_space_and_a_mark_around_the_json_do_not_matter(written: str) -> None:
    assert what(SENT.encode(), written.encode()) == "the same JSON written compact, letters beyond ASCII as they are"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (json.dumps(DOCUMENT), "a space after each comma and colon, letters beyond ASCII as \\u escapes"),
        (json.dumps(DOCUMENT, indent=4, ensure_ascii=False), "indented by four spaces, letters beyond ASCII as they"),
        (json.dumps(DOCUMENT, indent=2) + "\n", "with a line break at its end"),
        (json.dumps(DOCUMENT, sort_keys=True), "its keys sorted"),
        (SENT.replace("/", "\\/"), "each / as \\/"),
        (SENT.replace("<", "\\u003c").replace(">", "\\u003e"), "<, > and & as \\u escapes"),
    ],
)
def test_the_way_in_which_it_was_sent_is_named(sent: str, words: str) -> None:
    received = json.dumps(DOCUMENT, separators=(",", ":"), ensure_ascii=False).encode()
    found = what(sent.encode(), received)
    assert found is not None
    assert words in found


@pytest.mark.parametrize(
    ("sent", "received", "words"),
    [
        (b"a\nb", b"a\r\nb", "with LF instead of CRLF line ends"),
        (b"a\r\nb", b"a\nb", "with CRLF instead of LF line ends"),
        (b"a\r\nb", b"a\nb\n", "without its last line break and with CRLF instead of LF line ends"),
        (b"a", b"\xef\xbb\xbfa", "without the byte order mark at its beginning"),
        (b"\xef\xbb\xbfa", b"a", "with a byte order mark at its beginning"),
        (
            b"\xef\xbb\xbfa\r\nb",
            b"a\nb\n",
            "without its last line break and with CRLF instead of LF line ends and with a",
        ),
        (SENT.encode(), base64.b64encode(SENT.encode()), "decoded from base64"),
        (SENT.encode(), base64.b64encode(SENT.encode()) + b"\n", "decoded from base64"),
        (SENT.encode(), json.dumps(SENT).encode(), "one JSON string"),
        (SENT.encode(), SENT.encode().decode("latin-1").encode(), "decoded as latin-1"),
        ("“Tür”".encode(), "“Tür“".encode().decode("cp1252").encode(), None),
        ("“Tür“".encode(), "“Tür“".encode().decode("cp1252").encode(), "decoded as cp1252"),
        (b"", b"anything", "an empty body"),
    ],
)
def test_a_body_that_was_changed_as_text_is_found(sent: bytes, received: bytes, words: str | None) -> None:
    found = what(sent, received)
    assert (found is None) if words is None else (found is not None and words in found)


@given(body=st.binary(max_size=200))
def test_there_are_not_many_and_none_is_the_body_itself_or_comes_twice(body: bytes) -> None:
    found = [original.body for original in body_candidates(body)]
    assert len(found) < 150
    assert body not in found
    assert len(set(found)) == len(found)


def test_a_large_body_is_tried_as_text_alone() -> None:
    body = json.dumps(["x" * MAX_JSON_BYTES]).encode()
    assert what(body, body + b"\n") == "the body without its last line break"
    assert not any("JSON" in original.what for original in body_candidates(body))


def test_what_is_nested_too_deep_is_no_json() -> None:
    assert not any("JSON" in original.what for original in body_candidates(b"[" * 50_000 + b"]" * 50_000))
