"""WebM: the duration is where the last block ends; the header's may be missing, or that of a file that was cut off.

Sources: RFC 8794 (EBML), RFC 9559 (Matroska). Elements that hold others are entered without regard to their length,
since a live recording does not know it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from receiver.outbound.containers.reader import FoundFacts, Reader, Unreadable

_INSIDE = frozenset((0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE1, 0x1F43B675, 0xA0))
"""The elements that are entered: Segment, Info, Tracks, TrackEntry, Audio, Cluster, BlockGroup."""
_EBML, _SCALE, _TRACK, _TYPE, _NUMBER, _CODEC = 0x1A45DFA3, 0x2AD7B1, 0xAE, 0x83, 0xD7, 0x86
_RATE, _OUTPUT_RATE, _CHANNELS, _TIMESTAMP, _BLOCK, _SIMPLE_BLOCK = 0xB5, 0x78B5, 0x9F, 0xE7, 0xA1, 0xA3
_AUDIO = 2
_MAX_TRACKS = 16
_MAX_ID_BYTES = 4


def read_webm(reader: Reader, found: FoundFacts) -> None:
    """Find the facts of a WebM file's first audio track.

    Raises:
        Unreadable: it is invalid, several are concatenated, or a bound of the reader is reached.
        OSError: the file cannot be read.
    """
    scale, cluster, first, last, blocks = 1_000_000, 0, 0, 0, 0
    track = _Track()
    tracks: list[_Track] = []
    for name, start, size, content in _elements(reader):
        if name == _EBML and start > 2 * _MAX_ID_BYTES + 8:
            raise Unreadable("several files are concatenated")
        if name == _TRACK:
            if len(tracks) == _MAX_TRACKS:
                raise Unreadable("there are too many tracks")
            track = _Track()
            tracks.append(track)
        elif name == _SCALE:
            scale = _number(reader, start, size)
        elif name == _TYPE:
            track.type = _number(reader, start, size)
        elif name == _NUMBER:
            track.number = _number(reader, start, size)
        elif name == _CODEC:
            track.is_opus = reader.read_at(start, min(size, 6)) == b"A_OPUS"
        elif name == _CHANNELS:
            track.channels = _number(reader, start, size)
        elif name in (_RATE, _OUTPUT_RATE):
            track.rate = max(track.rate, _float(reader, start, size))
        elif name == _TIMESTAMP:
            cluster = _number(reader, start, size)
        elif name in (_BLOCK, _SIMPLE_BLOCK):
            audio = next((one for one in tracks if one.type == _AUDIO), None)
            number, length = _vint(content)
            if audio is None or number != audio.number or len(content) < length + 2:
                continue
            at = cluster + int.from_bytes(content[length : length + 2], "big", signed=True)
            if blocks and at < last:
                raise Unreadable("the times of the blocks go backwards")
            first, last, blocks = at if not blocks else first, at, blocks + 1
            found.sample_rate, found.channels = audio.hertz, audio.channels
    if blocks > 1:
        found.duration = (last - first) * blocks / (blocks - 1) * scale / 1e9


class _Track:
    """A track's entry; its defaults are one channel and 8,000 Hz (RFC 9559, 5.1.4.1.29)."""

    def __init__(self) -> None:
        self.type = self.number = 0
        self.channels, self.rate = 1, 8_000.0
        self.is_opus = False

    @property
    def hertz(self) -> int | None:
        return 48_000 if self.is_opus else round(self.rate) or None  # Opus is always decoded to 48 kHz


def _elements(reader: Reader) -> Iterator[tuple[int, int, int, bytes]]:
    """Each element, a parent before its children.

    Its id, its content's position and length, and the beginning of that: 4 bytes or more, unless it is shorter.
    """
    position = 0
    while head := reader.read_at(position, 16):
        name, id_length = _id(head)
        size, size_length = _vint(head[id_length:])
        if not id_length or not size_length:
            raise Unreadable("there is no element where the next one should be")
        start = position + id_length + size_length
        unknown = size == (1 << 7 * size_length) - 1
        if unknown and name not in _INSIDE:
            raise Unreadable("an element has no length")
        yield name, start, size, head[start - position :][:size]
        position = start if name in _INSIDE else start + size


def _id(head: bytes) -> tuple[int, int]:
    length = 9 - head[0].bit_length()
    if not 1 <= length <= _MAX_ID_BYTES or len(head) < length:
        return 0, 0
    return int.from_bytes(head[:length], "big"), length


def _vint(data: bytes) -> tuple[int, int]:
    """A number of variable length without its marker, and its length in bytes; length 0 if invalid."""
    length = 9 - data[0].bit_length() if data else 9
    if length > 8 or len(data) < length:
        return 0, 0
    return int.from_bytes(data[:length], "big") & (1 << 7 * length) - 1, length


def _number(reader: Reader, start: int, size: int) -> int:
    if size > 8:
        raise Unreadable("a number is too long")
    return int.from_bytes(reader.read_exactly(start, size), "big")


def _float(reader: Reader, start: int, size: int) -> float:
    data = reader.read_exactly(start, size) if size in (4, 8) else b""
    value: float = struct.unpack(">f" if size == 4 else ">d", data)[0] if data else 0.0
    return value if 0 < value < 1 << 31 else 0.0
