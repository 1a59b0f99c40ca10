"""Formats detected from bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.outbound.formats import sniff, sniff_file
from tests.unit.outbound.audio_files import MP3_FRAME, adts, flac, id3, make_wav

ADTS_FRAME = adts(9)


@pytest.mark.parametrize(
    ("head", "word", "content_type"),
    [
        (make_wav(100), "wav", "audio/wav"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav", "audio/wav"),
        (b"ID3\x04\x00\x00\x00\x00\x02\x01TIT2", "mp3", "audio/mpeg"),
        (MP3_FRAME * 3, "mp3", "audio/mpeg"),
        (MP3_FRAME[:64], "mp3", "audio/mpeg"),
        (b"\xff\xf3\x44\xc4" + bytes(60), "mp3", "audio/mpeg"),
        (b"OggS\x00\x02" + bytes(22) + b"OpusHead", "ogg", "audio/ogg"),
        (b"fLaC\x00\x00\x00\x22", "flac", "audio/flac"),
        (b"\x00\x00\x00\x20ftypM4A \x00\x00\x02\x00", "m4a", "audio/mp4"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00", "m4a", "audio/mp4"),
        (ADTS_FRAME * 5, "aac", "audio/aac"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82\x84webm", "webm", "audio/webm"),
        (b"FORM\x00\x00\x00\x20AIFFCOMM", "aiff", "audio/aiff"),
    ],
)
def test_a_format_is_told_by_its_first_bytes(head: bytes, word: str, content_type: str) -> None:
    found = sniff(head)
    assert found is not None
    assert (found.name, found.content_type) == (word, content_type)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<!DOCTYPE html><html>",
        b"\n\n  <html>",
        b'{"success": false}',
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        b"ID3 tags explained",
        b"RIFF\x00\x00\x00\x00AVI LIST",
        b"OggSomething",
        b"\xff\xfe<\x00h\x00t\x00m\x00l\x00",
        b"\xff\xfb\x90\xc4" + b"<html>" * 200,
        b"\xff\xf1\x50\x80\x02\x1f\xfc" + b"<html>" * 200,
        b"\xff\xff\xff\xff" * 20,
        b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00",
        b"\x00\x00\x00\x20ftypqt  \x00\x00\x00\x00",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"PK\x03\x04",
        b"\x1f\x8b\x08",
        bytes(4096),
    ],
)
def test_what_is_no_audio_is_not_told_to_be(head: bytes) -> None:
    assert sniff(head) is None


@given(st.text(max_size=200))
def test_no_text_is_audio(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    if not data.startswith((b"RIFF", b"RF64", b"OggS", b"fLaC", b"FORM", b"ID3")) and data[4:8] != b"ftyp":
        assert sniff(data) is None


@given(st.binary(max_size=600))
def test_any_bytes_are_answered(data: bytes) -> None:
    sniff(data)


@given(st.binary(max_size=600), st.booleans())
def test_any_file_is_answered(tmp_path_factory: pytest.TempPathFactory, data: bytes, tagged: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(id3(20) + data if tagged else data)
    found = sniff_file(path)
    assert found is not None if tagged else found == sniff(data) or data.startswith(b"ID3")


@pytest.mark.parametrize("tag", [id3(), id3(20_000), id3(70_000, footer=10), id3(50) * 3, id3() + bytes(900)])
@pytest.mark.parametrize(
    ("audio", "word"),
    [(adts() * 9, "aac"), (flac(3), "flac"), (MP3_FRAME * 9, "mp3"), (make_wav(9), "wav"), (b"", "mp3"), (b"?", "mp3")],
)
def test_a_format_is_told_by_what_is_behind_a_tag(tmp_path: Path, tag: bytes, audio: bytes, word: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(tag + audio)
    found = sniff_file(path)
    assert found is not None
    assert found.name == word


def test_tags_without_end_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(id3(0) * 100_000 + flac(3))
    found = sniff_file(path)
    assert found is not None
    assert found.name == "mp3"
