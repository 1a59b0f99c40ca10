"""Formats told from bytes, and facts from headers."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.outbound.formats import Facts, read_facts, sniff

MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz, joint stereo: 417 bytes
ADTS_FRAME = b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)  # 16 bytes


def make_wav(frames: int, rate: int = 8000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\x01\x02" * frames)
    return out.getvalue()


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
    assert (found.word, found.content_type) == (word, content_type)


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


def test_the_facts_of_a_wav_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(make_wav(4000))
    assert read_facts(tmp_path / "x.part") == Facts(0.5, 8000, 1)


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000])
def test_a_wav_made_while_it_was_sent_is_as_long_as_its_bytes(tmp_path: Path, size: int) -> None:
    data = bytearray(make_wav(4000))
    data[40:44] = struct.pack("<I", size)
    (tmp_path / "x").write_bytes(data)
    facts = read_facts(tmp_path / "x")
    assert facts.duration == pytest.approx(0.5, abs=0.01)
    assert facts.sample_rate == 8000


def test_an_mp3_without_tags_has_a_duration(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(MP3_FRAME * 100)
    facts = read_facts(tmp_path / "x")
    assert facts.duration == pytest.approx(100 * 1152 / 44_100, rel=0.02)
    assert (facts.sample_rate, facts.channels) == (44_100, 2)


@given(
    st.sampled_from([b"RIFF\0\0\0\0WAVE", b"OggS\0", b"fLaC", b"\0\0\0\x20ftypM4A ", b"ID3\x04", b"FORM", b"\xff\xfb"]),
    st.binary(max_size=400),
)
def test_a_broken_file_has_unknown_facts_and_no_exception(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "broken"
    path.write_bytes(head + rest)
    assert isinstance(read_facts(path), Facts)


def test_a_missing_file_has_unknown_facts(tmp_path: Path) -> None:
    assert read_facts(tmp_path / "none") == Facts()


def test_headers_that_would_be_read_for_ever_are_given_up(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.write(b"fLaC" + b"\x84" + (0xFF_FFFF).to_bytes(3, "big"))
        file.truncate(40 << 20)
    assert read_facts(path).duration is None
