"""Facts of audio files: right, or not claimed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from receiver.outbound.formats import WAV, Facts, read_facts, sniff_file
from tests.unit.outbound.audio_files import (
    FTYP,
    MP3_FRAME,
    MP3_V2_FRAME,
    MP3_V25_FRAME,
    adts,
    aiff,
    box,
    flac,
    id3,
    lame_note,
    make_wav,
    moof,
    moov,
    opus,
    vorbis,
    webm,
    xing,
)

ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 40, 1, 0xA000_0000) + bytes(8) + bytes(40)
APE += b"APETAGEX" + struct.pack("<IIII", 2000, 40, 1, 0x8000_0000) + bytes(8)
FLAC_FRAME = len(flac(9)) - len(flac(8))
SECOND = 24_000 / 1024
"""AAC frames in a second at 24 kHz."""


def facts_of(tmp_path: Path, data: bytes) -> tuple[str, float | None, int | None, int | None]:
    """What is read from a file: its format, duration, rate and channels."""
    path = tmp_path / "x.part"
    path.write_bytes(data)
    kind = sniff_file(path)
    assert kind is not None
    facts = read_facts(path, kind)
    return kind.name, facts.duration, facts.sample_rate, facts.channels


def wav_with(data_length: int, riff_length: int | None = None, *, after: bytes = b"", cut: int | None = None) -> bytes:
    data = bytearray(make_wav(24_000, 24_000))
    data[40:44] = struct.pack("<I", data_length)
    if riff_length is not None:
        data[4:8] = struct.pack("<I", riff_length)
    return bytes(data[:cut]) + after


def rf64(data_length: int) -> bytes:
    wav = make_wav(24_000, 24_000)
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 0, data_length, 24_000, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + wav[12:40] + b"\xff\xff\xff\xff" + wav[44:]


@pytest.mark.parametrize(
    ("data", "format", "seconds", "rate", "channels"),
    [
        pytest.param(adts() * 71, "aac", 71 / SECOND, 24_000, 1, id="raw AAC"),
        pytest.param(id3() + adts() * 71, "aac", 71 / SECOND, 24_000, 1, id="AAC behind a tag"),
        pytest.param(id3(20_000) + adts() * 71, "aac", 71 / SECOND, 24_000, 1, id="AAC behind a long tag"),
        pytest.param(id3() + id3(9_000, footer=10) + bytes(50) + adts() * 71, "aac", 71 / SECOND, 24_000, 1, id="tags"),
        pytest.param((id3() + adts() * 47) * 3, "aac", 3 * 47 / SECOND, 24_000, 1, id="AAC joined, with tags"),
        pytest.param(adts() * 47 + adts(rate=4) * 43, "aac", 47 / SECOND + 43 * 1024 / 44_100, None, 1, id="two rates"),
        pytest.param(adts(channels=0) * 47, "aac", 47 / SECOND, 24_000, None, id="AAC without channels"),
        pytest.param(MP3_FRAME * 100, "mp3", 100 * 1152 / 44_100, 44_100, 2, id="MP3"),
        pytest.param(MP3_V2_FRAME * 100, "mp3", 2.4, 24_000, 1, id="MPEG-2"),
        pytest.param(MP3_V25_FRAME * 100, "mp3", 7.2, 8_000, 1, id="MPEG-2.5"),
        pytest.param(id3(70_000) + MP3_FRAME * 99, "mp3", 99 * 1152 / 44_100, 44_100, 2, id="MP3 behind a long tag"),
        pytest.param(MP3_FRAME * 99 + ID3V1, "mp3", 99 * 1152 / 44_100, 44_100, 2, id="MP3 with ID3v1"),
        pytest.param(MP3_FRAME * 99 + APE + ID3V1, "mp3", 99 * 1152 / 44_100, 44_100, 2, id="MP3 with APE"),
        pytest.param((MP3_FRAME * 99 + APE) * 2, "mp3", 198 * 1152 / 44_100, 44_100, 2, id="MP3 with APE, joined"),
        pytest.param(
            (MP3_FRAME + b"\xff\xfb\x50\x64" + bytes(204)) * 50, "mp3", 100 * 1152 / 44_100, 44_100, 2, id="VBR"
        ),
        pytest.param(xing(99) + MP3_FRAME * 99, "mp3", 99 * 1152 / 44_100, 44_100, 2, id="MP3 with a note"),
        pytest.param(
            xing(99, lame=lame_note(1105, 1047)) + MP3_FRAME * 99, "mp3", 97.132 * 1152 / 44_100, 44_100, 2, id="LAME"
        ),
        pytest.param((xing(99) + MP3_FRAME * 99) * 3, "mp3", 297 * 1152 / 44_100, 44_100, 2, id="MP3 joined"),
        pytest.param(xing(99) + MP3_FRAME * 40, "mp3", 40 * 1152 / 44_100, 44_100, 2, id="MP3 cut off"),
        pytest.param(MP3_FRAME * 50 + b"junk" * 9 + MP3_FRAME * 50, "mp3", 2.612, 44_100, 2, id="MP3 with junk"),
        pytest.param(MP3_FRAME * 2 + bytes(70_000) + MP3_FRAME * 2, "mp3", None, 44_100, 2, id="MP3 with a hole"),
        pytest.param(flac(30), "flac", 30 * 4096 / 44_100, 44_100, 2, id="FLAC"),
        pytest.param(flac(30, last=1000), "flac", (29 * 4096 + 1000) / 44_100, 44_100, 2, id="FLAC, short last frame"),
        pytest.param(id3(20_000) + flac(30), "flac", 30 * 4096 / 44_100, 44_100, 2, id="FLAC behind a tag"),
        pytest.param(flac(200, total=0), "flac", 200 * 4096 / 44_100, 44_100, 2, id="FLAC that was streamed"),
        pytest.param(flac(200)[:-30_000], "flac", 103 * 4096 / 44_100, 44_100, 2, id="FLAC cut off"),
        pytest.param(
            flac(30)[:50] + flac(30)[50 + 9 * FLAC_FRAME :], "flac", 21 * 4096 / 44_100, 44_100, 2, id="FLAC cut out"
        ),
        pytest.param(flac(30) * 2, "flac", None, 44_100, 2, id="FLAC joined"),
        pytest.param(wav_with(48_000), "wav", 1.0, 24_000, 1, id="WAV"),
        pytest.param(wav_with(0, 0), "wav", 1.0, 24_000, 1, id="WAV of length 0"),
        pytest.param(wav_with(0xFFFF_FFFF, 0xFFFF_FFFF), "wav", 1.0, 24_000, 1, id="WAV without a length"),
        pytest.param(wav_with(0x7FFF_F000), "wav", 1.0, 24_000, 1, id="WAV with a length of 2 GB"),
        pytest.param(wav_with(48_000, cut=24_044), "wav", 0.5, 24_000, 1, id="WAV cut off"),
        pytest.param(wav_with(48_000, after=b"LIST\4\0\0\0INFO"), "wav", 1.0, 24_000, 1, id="WAV with a list"),
        pytest.param(wav_with(9600), "wav", None, 24_000, 1, id="WAV with an old length"),
        pytest.param(wav_with(48_000) * 2, "wav", None, 24_000, 1, id="WAV joined"),
        pytest.param(rf64(48_000), "wav", 1.0, 24_000, 1, id="RF64"),
        pytest.param(rf64(0), "wav", 1.0, 24_000, 1, id="RF64 without a length"),
        pytest.param(aiff(24_000), "aiff", 1.0, 24_000, 1, id="AIFF"),
        pytest.param(aiff(24_000, claimed=0, size=0), "aiff", 1.0, 24_000, 1, id="AIFF without a length"),
        pytest.param(aiff(24_000)[:-24_000], "aiff", 0.5, 24_000, 1, id="AIFF cut off"),
        pytest.param(opus(3), "ogg", 3.0, 48_000, 1, id="Opus"),
        pytest.param(vorbis(3), "ogg", 3.0, 22_050, 1, id="Vorbis"),
        pytest.param(opus(3) * 3, "ogg", 9.0, 48_000, 1, id="Opus joined"),
        pytest.param(opus(3) + vorbis(2), "ogg", 5.0, None, 1, id="Opus and Vorbis joined"),
        pytest.param(opus(3)[:-100], "ogg", 2.0, 48_000, 1, id="Opus cut off"),
        pytest.param(opus(3, start=48_000 * 3600), "ogg", None, 48_000, 1, id="Opus joined late"),
        pytest.param(vorbis(3, start=22_050 * 9), "ogg", None, 22_050, 1, id="Vorbis joined late"),
        pytest.param(FTYP + moov(47) + box(b"mdat", bytes(900)), "m4a", 47 / SECOND, 24_000, 1, id="M4A"),
        pytest.param(FTYP + box(b"mdat", bytes(900)) + moov(47), "m4a", 47 / SECOND, 24_000, 1, id="M4A, moov last"),
        pytest.param(FTYP + moov(47, edit=1900) + box(b"mdat"), "m4a", 1.9, 24_000, 1, id="M4A with an edit"),
        pytest.param(FTYP + moov(47, channels=2) + box(b"mdat"), "m4a", 47 / SECOND, 24_000, 2, id="M4A in stereo"),
        pytest.param(FTYP + moov(47) + box(b"mdat", bytes(900))[:-9], "m4a", None, 24_000, 1, id="M4A cut off"),
        pytest.param((FTYP + moov(47) + box(b"mdat")) * 2, "m4a", None, 24_000, 1, id="M4A joined"),
        pytest.param(
            FTYP + moov(0, fragmented=True) + moof(20) + box(b"mdat") + moof([1024] * 20 + [512]) + box(b"mdat"),
            "m4a", 40.5 / SECOND, 24_000, 1, id="M4A in fragments",
        ),
        pytest.param(webm(3, claimed=3), "webm", 3.0, 24_000, 1, id="WebM"),
        pytest.param(webm(3, claimed=30), "webm", 3.0, 24_000, 1, id="WebM with a false length"),
        pytest.param(webm(3, unknown=True), "webm", 3.0, 24_000, 1, id="WebM that was live"),
        pytest.param(webm(3) * 2, "webm", None, 24_000, 1, id="WebM joined"),
    ],
)  # fmt: skip
def test_facts_are_right_or_not_claimed(
    tmp_path: Path, data: bytes, format: str, seconds: float | None, rate: int | None, channels: int | None
) -> None:
    found = facts_of(tmp_path, data)
    assert found == (format, pytest.approx(seconds, abs=0.01) if seconds else None, rate, channels)


def test_a_missing_file_has_unknown_facts(tmp_path: Path) -> None:
    assert read_facts(tmp_path / "none", WAV) == Facts()
