"""Files that are not audio: the media type and the bytes decide together, and markup is none of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.file_kind import FileKind, kind_of_file
from receiver.outbound.documents import JSON, SRT, TEXT, VTT, media_type, read_document, sniff_document
from receiver.outbound.formats import Format
from receiver.simulator.documents import SUFFIXES, transcript_file

CUES = b"1\r\n00:00:00,000 --> 00:00:01,200\r\nHello.\r\n"
ANY = "application/octet-stream"


@pytest.mark.parametrize(
    ("data", "media", "format"),
    [
        (b'{"text": "Hi"}', "application/json", JSON),
        (b"\xef\xbb\xbf [1, 2]\n", "application/json", JSON),
        (b'{"a": 1}', "application/vnd.service+json", JSON),
        (b'{"a": 1}', ANY, JSON),
        (b'{"a": 1}', "", JSON),
        (b'{"a": 1}', "text/html", None),
        (b'{"a": ', "application/json", None),
        (b"{not json", "text/plain", TEXT),
        (b"{not json", ANY, None),
        (CUES, "application/x-subrip", SRT),
        (CUES, "text/plain", SRT),
        (CUES, ANY, SRT),
        (CUES, "application/json", None),
        (b"WEBVTT\n\n00:00.000 --> 00:01.000\nHi", "text/vtt", VTT),
        (b"WEBVTTX", "text/vtt", None),
        (b"Hello \xc3\xa4.", "text/plain", TEXT),
        (b"Hello.", ANY, None),
        (b"Hello.", "application/x-subrip", None),
        (b"Hello \xc3", "text/plain", None),
        (b"Hello\0", "text/plain", None),
        (b"\xff\xfeH\0i\0", "text/plain", None),
        (b"  <!DOCTYPE html><h1>Error</h1>", "text/plain", None),
        (b"<?xml version='1.0'?><Error/>", "application/json", None),
        (b"<html>", "text/html", None),
        (b"", "text/plain", None),
        (b" \n", "text/plain", None),
        (b"PK\x03\x04", "application/zip", None),
    ],
)
def test_a_document_is_what_its_media_type_and_its_bytes_say(data: bytes, media: str, format: Format | None) -> None:
    assert read_document(data, media) is format


@given(st.binary(max_size=300), st.sampled_from(["", ANY, "application/json", "text/plain", "text/vtt", "text/html"]))
def test_what_is_read_as_a_document_also_begins_like_one(data: bytes, media: str) -> None:
    found = read_document(data, media)
    if found is not None:
        assert sniff_document(data, media) is not None
        assert not data.lstrip().startswith(b"<")
        assert b"\0" not in data


@given(st.text(min_size=1, max_size=50), st.integers(0, 120))
def test_a_beginning_may_end_within_a_character(text: str, size: int) -> None:
    data = ("Heading: " + text).encode("utf-8", "ignore")
    if read_document(data, "text/plain") is TEXT:
        assert sniff_document(data[: 9 + size], "text/plain") is TEXT


def test_a_media_type_is_read_without_its_parameters() -> None:
    assert media_type("Text/Plain; charset=UTF-8") == "text/plain"
    assert media_type(None) == ""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_simulated_documents_are_recognised(suffix: str) -> None:
    clip = transcript_file(suffix)
    found = read_document(clip.data, media_type(clip.content_type))
    assert found is not None
    assert found.extension == suffix
    kinds = {"srt": FileKind.SUBTITLES, "vtt": FileKind.SUBTITLES, "json": FileKind.JSON, "txt": FileKind.TEXT}
    assert kind_of_file(found.content_type) is kinds[suffix]
