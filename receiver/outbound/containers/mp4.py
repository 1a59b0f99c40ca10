"""MP4 (M4A): the duration is that of the samples in its tables, including those of fragments.

Source: ISO/IEC 14496-12 (boxes), 14496-14 and 14496-1 (`esds`), 14496-3, 1.6.2.1 (AudioSpecificConfig).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from receiver.outbound.containers.mp4_entry import read_entry
from receiver.outbound.containers.reader import FoundFacts, Reader, Unreadable

_ROWS = 4096
"""Rows of a table that are read in one step."""


@dataclass(frozen=True, slots=True)
class _Box:
    """A box: its type, and the positions where its content begins and ends."""

    type: bytes
    start: int
    end: int


@dataclass(slots=True)
class _Track:
    """A track, as its boxes describe it.

    Attributes:
        scale: units in a second.
        units: the duration of all its samples.
        edited: the duration of its edits, in the movie's units; 0 without edits.
        default: the default duration of a sample of a fragment, in units.
    """

    number: int = 0
    is_audio: bool = False
    scale: int = 0
    units: int = 0
    edited: int = 0
    default: int = 0
    sample_rate: int | None = None
    channels: int | None = None


def read_mp4(reader: Reader, found: FoundFacts) -> None:
    """Find the facts of an MP4 file's first audio track.

    Raises:
        Unreadable: it is broken or cut off, has no audio, or a bound of the reader is reached.
        OSError: the file cannot be read.
    """
    track: _Track | None = None
    movie_scale = 0
    for box in _boxes(reader, 0, reader.size):
        if box.type == b"moov":
            if track is not None:
                raise Unreadable("several files are concatenated")
            movie_scale, track = _read_movie(reader, box)
            found.sample_rate, found.channels = track.sample_rate, track.channels
        elif box.type == b"moof":
            if track is None:
                raise Unreadable("a fragment comes before its movie")
            track.units += _fragment_units(reader, box, track)
    if track is None:
        raise Unreadable("there is no description of its content")
    seconds = track.units / track.scale if track.scale else 0.0
    edited = track.edited / movie_scale if movie_scale else 0.0
    found.duration = edited if 0 < edited < seconds else seconds


def _boxes(reader: Reader, start: int, end: int) -> Iterator[_Box]:
    """The boxes between two positions."""
    position = start
    while position + 8 <= end:
        head = reader.read_exactly(position, 8)
        size, content = int.from_bytes(head[:4], "big"), position + 8
        if size == 1:
            size, content = int.from_bytes(reader.read_exactly(content, 8), "big"), content + 8
        box_end = end if size == 0 else position + size
        if box_end < content:
            raise Unreadable("a box is shorter than its head")
        if box_end > end:
            raise Unreadable("a box is longer than the box around it: the file is cut off or broken")
        yield _Box(head[4:], content, box_end)
        position = box_end


def _read_movie(reader: Reader, movie: _Box) -> tuple[int, _Track]:
    """The movie's units per second, and its first audio track.

    Raises:
        Unreadable: it has none.
    """
    scale, defaults = 0, dict[int, int]()
    found: _Track | None = None
    for box in _boxes(reader, movie.start, movie.end):
        if box.type == b"mvhd":
            scale = _scale(reader, box)
        elif box.type == b"trak" and found is None:
            track = _read_track(reader, box)
            found = track if track.is_audio else None
        elif box.type == b"mvex":
            for extension in _boxes(reader, box.start, box.end):
                if extension.type == b"trex":
                    number, _, duration = struct.unpack(">3I", reader.read_exactly(extension.start + 4, 12))
                    defaults[number] = duration
    if found is None:
        raise Unreadable("there is no audio in it")
    found.default = defaults.get(found.number, 0)
    return scale, found


def _scale(reader: Reader, box: _Box) -> int:
    """The units per second of an `mvhd` or `mdhd`, after two times, which have 64 bits in version 1."""
    version = reader.read_exactly(box.start, 1)[0]
    return int.from_bytes(reader.read_exactly(box.start + (20 if version == 1 else 12), 4), "big")


def _read_track(reader: Reader, trak: _Box) -> _Track:
    track = _Track()
    inside = [trak]
    while inside:
        parent = inside.pop()
        for box in _boxes(reader, parent.start, parent.end):
            if box.type in (b"mdia", b"minf", b"stbl", b"edts") and len(inside) < 8:
                inside.append(box)
            elif box.type == b"tkhd":
                version = reader.read_exactly(box.start, 1)[0]
                track.number = int.from_bytes(reader.read_exactly(box.start + (20 if version == 1 else 12), 4), "big")
            elif box.type == b"mdhd":
                track.scale = _scale(reader, box)
            elif box.type == b"hdlr":
                track.is_audio = reader.read_exactly(box.start + 8, 4) == b"soun"
            elif box.type == b"elst":
                track.edited = _edited(reader, box)
            elif box.type == b"stts":
                track.units = sum(count * length for count, length in _rows(reader, box.start + 4, box.end, ">2I"))
            elif box.type == b"stsd":
                track.sample_rate, track.channels = read_entry(reader, box.start + 8, box.end)
    track.sample_rate = track.sample_rate or track.scale or None
    return track


def _edited(reader: Reader, box: _Box) -> int:
    """The duration of all edits, in the movie's units, including empty ones (silence)."""
    version = reader.read_exactly(box.start, 1)[0]
    return sum(row[0] for row in _rows(reader, box.start + 4, box.end, ">Qq4x" if version == 1 else ">Ii4x"))


def _rows(reader: Reader, start: int, end: int, form: str) -> Iterator[tuple[int, ...]]:
    """The rows of a table that begins with the number of rows."""
    width, left = struct.calcsize(form), int.from_bytes(reader.read_exactly(start, 4), "big")
    position = start + 4
    if position + left * width > end:
        raise Unreadable("a table reaches beyond its box")
    while left > 0:
        count = min(left, _ROWS)
        reader.step(count)
        yield from struct.iter_unpack(form, reader.read_exactly(position, count * width))
        position, left = position + count * width, left - count


def _fragment_units(reader: Reader, moof: _Box, track: _Track) -> int:
    """The duration of the track in a fragment, in its units."""
    units = 0
    for traf in _boxes(reader, moof.start, moof.end):
        if traf.type != b"traf":
            continue
        number, default = 0, track.default
        for box in _boxes(reader, traf.start, traf.end):
            if box.type == b"tfhd":
                flags, number = struct.unpack(">2I", reader.read_exactly(box.start, 8))
                if flags & 0x8:
                    place = box.start + 8 + (8 if flags & 1 else 0) + (4 if flags & 2 else 0)
                    default = int.from_bytes(reader.read_exactly(place, 4), "big")
            elif box.type == b"trun" and number == track.number:
                units += _run_units(reader, box, default)
    return units


def _run_units(reader: Reader, box: _Box, default: int) -> int:
    flags, count = struct.unpack(">2I", reader.read_exactly(box.start, 8))
    if not flags & 0x100:
        return int(count * default)
    width = sum(4 for flag in (0x100, 0x200, 0x400, 0x800) if flags & flag)
    first = box.start + 8 + (4 if flags & 1 else 0) + (4 if flags & 4 else 0)
    form = f">I{width - 4}x"
    units, left = 0, count
    if first + count * width > box.end:
        raise Unreadable("a table reaches beyond its box")
    while left > 0:
        part = min(left, _ROWS)
        reader.step(part)
        units += sum(row[0] for row in struct.iter_unpack(form, reader.read_exactly(first, part * width)))
        first, left = first + part * width, left - part
    return units
