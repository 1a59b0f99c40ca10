"""Reading facts ends, whatever the file: in bounded steps, bytes and time, and without an exception."""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.outbound.containers import reader as bounds
from receiver.outbound.containers.reader import Reader, Unreadable
from receiver.outbound.formats import (
    _READERS,
    AAC,
    AIFF,
    FLAC,
    M4A,
    MP3,
    OGG,
    WAV,
    WEBM,
    Facts,
    Format,
    FoundFacts,
    read_facts,
    sniff_file,
)
from tests.clocks import CallbackClock
from tests.cost import max_cpu_seconds
from tests.unit.outbound.audio_files import (
    FTYP,
    MP3_FRAME,
    adts,
    aiff,
    box,
    element,
    flac,
    id3,
    make_wav,
    moof,
    moov,
    ogg_page,
    opus,
    vorbis,
    webm,
    xing,
)  # fmt: skip

MIB = 1 << 20
FLAC_START = flac(1)[:42]
EBML = webm(1)[:50]
CPU_SECONDS = 4.0
"""Far above what the bounds allow, and far below what such files took before there were any: 7 s and more."""

HOSTILE = {
    "nothing but the beginnings of frames": (MP3, id3() + b"\xff" * 16 * MIB),
    "beginnings of frames with no frame behind": (MP3, MP3_FRAME * 2 + b"\xff\xfb\x90\x64" * MIB),
    "the shortest MP3 frames": (MP3, (b"\xff\xf3\x14\xc4" + bytes(20)) * MIB),
    "frames of many kinds": (MP3, b"".join(b"\xff\xf3" + bytes([16 | n, 0xC4]) + bytes(20) for n in (0, 4, 8)) * 9999),
    "the shortest AAC frames": (AAC, adts(1) * MIB),
    "empty Ogg pages": (OGG, opus(1) + ogg_page([], -1) * MIB),
    "beginnings of Ogg streams": (OGG, opus(0)[:47] * MIB),
    "many Ogg streams": (OGG, b"".join(opus(1, serial=n) for n in range(3000))),
    "empty boxes": (M4A, FTYP + box(b"free") * MIB),
    "empty boxes in a track": (M4A, FTYP + box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"free") * MIB))))),
    "boxes in boxes": (M4A, FTYP + box(b"moov", *(box(b"trak", box(b"mdia") * 99_999) for _ in range(9)))),
    "a long table": (
        M4A,
        FTYP + box(b"moov", box(b"trak", box(b"stts", struct.pack(">II", 0, MIB), b"\0\0\0\1" * 2 * MIB))),
    ),
    "a fragment of very many samples": (
        M4A, FTYP + moov(0, fragmented=True) + moof([1] * MIB) + moof(0xFFFF_FFFF) * 9,
    ),
    "empty chunks": (WAV, b"RIFF\0\0\0\0WAVE" + b"LIST\0\0\0\0" * MIB),
    "empty AIFF chunks": (AIFF, b"FORM\0\0\0\0AIFF" + b"ANNO\0\0\0\0" * MIB),
    "empty FLAC blocks": (FLAC, FLAC_START.replace(b"fLaC\x80", b"fLaC\0") + b"\x01\0\0\0" * MIB),
    "beginnings of FLAC frames": (FLAC, FLAC_START.replace(b"fLaC\0", b"fLaC\x80") + b"\xff\xf8\xc9\x18\0" * MIB),
    "empty EBML elements": (WEBM, EBML + element(0x18538067, b"", unknown=True) + b"\xec\x80" * MIB),
    "very many blocks": (WEBM, webm(1)[:180] + b"\xa3\x84\x81\0\0\0" * MIB),
    "very many tracks": (WEBM, EBML + element(0x18538067, b"", unknown=True) + b"\xae\x83\x83\x81\x02" * MIB),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_costs_little(tmp_path: Path, name: str) -> None:
    format, data = HOSTILE[name]
    path = tmp_path / "x"
    path.write_bytes(data)
    with max_cpu_seconds(CPU_SECONDS, time.thread_time):
        read_facts(path, format)


def test_a_file_that_is_slow_to_read_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(MP3_FRAME * 10_000)
    ticks = iter(range(1_000_000))
    with path.open("rb") as file, pytest.raises(Unreadable, match="takes too long"):
        _READERS[MP3](Reader(file, CallbackClock(monotonic=lambda: next(ticks))), FoundFacts())


def test_no_more_than_so_many_bytes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write(FLAC_START.replace(b"fLaC\0", b"fLaC\x80"))
        file.truncate(bounds.MAX_BYTES + 9 * bounds.WINDOW)  # zeros that take no place on the disk
    stands_still = CallbackClock(monotonic=lambda: 0.0)
    with path.open("rb") as opened, pytest.raises(Unreadable, match="too long to be read"):
        _READERS[FLAC](Reader(opened, stands_still), FoundFacts())


def test_a_length_that_no_file_of_this_size_has_is_not_claimed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(FTYP + moov(0xFFFF_FFFF))
    assert read_facts(path, M4A) == Facts(None, 24_000, 1)


GOOD = {
    MP3: [xing(9) + MP3_FRAME * 9, id3() + MP3_FRAME * 5],
    AAC: [adts() * 9],
    FLAC: [flac(5), flac(5, total=0)],
    OGG: [opus(3), vorbis(2) + opus(1)],
    M4A: [FTYP + moov(47, edit=1900) + box(b"mdat"), FTYP + moov(0, fragmented=True) + moof([1024] * 20)],
    WAV: [
        make_wav(100) + b"LIST\4\0\0\0INFO",
        b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + bytes(28) + make_wav(9)[12:],
    ],
    AIFF: [aiff(100)],
    WEBM: [webm(1), webm(2, unknown=True)],
}


@given(st.data())
def test_any_bytes_have_facts_or_none_and_no_exception(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    format: Format = data.draw(st.sampled_from(list(GOOD)))
    file = bytearray(data.draw(st.sampled_from(GOOD[format])))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(file)))
        piece = data.draw(st.binary(max_size=9) | st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"]))
        file[place : place + data.draw(st.sampled_from([0, len(piece), len(piece) + 4]))] = piece
    del file[data.draw(st.integers(0, len(file))) :]
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(file)
    found = FoundFacts()
    with path.open("rb", buffering=0) as opened, suppress(Unreadable):  # the only way to give up
        _READERS[format](Reader(opened), found)
    facts = read_facts(path, format)
    assert facts.duration is None or 0 < facts.duration <= len(file)
    sniff_file(path)
