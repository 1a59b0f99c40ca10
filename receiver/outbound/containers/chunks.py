"""WAV and AIFF: files of chunks. The duration is that of the samples in the file, whatever the header says.

Sources: Microsoft, "Multiple channel audio data and WAVE files"; EBU Tech 3306 (RF64); Apple, "Audio Interchange File
Format AIFF-C", 1991.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from receiver.outbound.containers.reader import FoundFacts, Reader, Unreadable

_EXTENSIBLE = 0xFFFE
_PCM = frozenset((0x01, 0x03, 0x06, 0x07))
"""WAV formats with a fixed size of a sample: PCM, float, A-law, mu-law. In others the byte rate is approximate."""
_AIFF_BITS = {b"ulaw": 8, b"ULAW": 8, b"alaw": 8, b"ALAW": 8, b"fl32": 32, b"FL32": 32, b"fl64": 64, b"FL64": 64}
_AIFF_PCM = frozenset((b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"in32"))

_NAMES = frozenset((b"data", b"fmt ", b"fact", b"LIST", b"SSND", b"COMM", b"FVER"))


def read_wav(reader: Reader, found: FoundFacts) -> None:
    """Find the facts of a WAV, RF64 or BW64 file.

    Raises:
        Unreadable: it has no format or no data, or a bound of the reader is reached.
        OSError: the file cannot be read.
    """
    rate = 0  # bytes a second
    long_data: int | None = None
    for name, start, size in _chunks(reader, "little"):
        if name == b"ds64":
            long_data = int.from_bytes(reader.read_exactly(start + 8, 8), "little")
        elif name == b"fmt ":
            rate = _read_format(reader, found, start, size)
        elif name == b"data":
            if rate:
                length = _data_length(reader, start, long_data if size == 0xFFFF_FFFF and long_data else size)
                found.duration = None if length is None else length / rate
            return
    raise Unreadable("there is no data chunk")


def _read_format(reader: Reader, found: FoundFacts, start: int, size: int) -> int:
    """Read a `fmt ` chunk; return the bytes of one second, or 0 if uncertain."""
    head = reader.read_exactly(start, 16)
    kind = int.from_bytes(head[:2], "little")
    if kind == _EXTENSIBLE and size >= 26:
        kind = int.from_bytes(reader.read_exactly(start + 24, 2), "little")
    found.channels = int.from_bytes(head[2:4], "little") or None
    found.sample_rate = int.from_bytes(head[4:8], "little") or None
    return (found.sample_rate or 0) * int.from_bytes(head[12:14], "little") if kind in _PCM else 0


def _data_length(reader: Reader, start: int, size: int) -> int | None:
    """Bytes of samples; None if uncertain."""
    there = reader.size - start
    if size >= there:
        return there  # written as a stream, so that the length was unknown; or cut off
    whole = 8 + int.from_bytes(reader.read_exactly(4, 4), "little")
    if size == 0:
        # Empty, if the file ends where its header says; otherwise the length was unknown, and the rest is samples.
        return 0 if whole == reader.size else there
    return size if _ends_in_chunks(reader, start + size, size) else None


def _ends_in_chunks(reader: Reader, end: int, size: int) -> bool:
    """Whether nothing, or another chunk, follows the samples; else files are concatenated, or the length is stale."""
    for following in (end, end + 1) if size % 2 else (end,):
        head = reader.read_at(following, 8)
        fits = following + 8 + int.from_bytes(head[4:], "little") <= reader.size + 1
        if not head.strip(b"\0") or (fits and _is_name(head[:4]) and head[:4] not in (b"RIFF", b"RF64")):
            return True
    return False


def read_aiff(reader: Reader, found: FoundFacts) -> None:
    """Find the facts of an AIFF or AIFF-C file.

    Raises:
        Unreadable: it has no format or no data, or a bound of the reader is reached.
        OSError: the file cannot be read.
    """
    bits, compressed = 0, reader.read_exactly(8, 4) == b"AIFC"
    claimed: int | None = None
    data: int | None = None
    rate = 0.0
    for name, start, size in _chunks(reader, "big"):
        if name == b"COMM":
            head = reader.read_exactly(start, 22 if compressed else 18)
            found.channels = int.from_bytes(head[:2], "big") or None
            claimed = int.from_bytes(head[2:6], "big")
            rate = _extended(head[8:18])
            found.sample_rate = round(rate) or None
            kind = head[18:22] if compressed else b"NONE"
            bits = _AIFF_BITS.get(kind, -(-int.from_bytes(head[6:8], "big") // 8) * 8 if kind in _AIFF_PCM else 0)
        elif name == b"SSND":
            offset = int.from_bytes(reader.read_exactly(start, 4), "big")
            there = reader.size - start
            data = max(0, (there if size < 8 or size > there else size) - 8 - offset)
    width = (found.channels or 0) * bits // 8
    if data is None or claimed is None:
        raise Unreadable("there is no sound, or no description of its format")
    if width and rate:
        frames = data // width
        found.duration = (min(claimed, frames) if claimed else frames) / rate


def _extended(data: bytes) -> float:
    """An 80-bit extended float as a rate; 0 if it is not a rate."""
    exponent = int.from_bytes(data[:2], "big")
    if not 16383 <= exponent < 16383 + 31:
        return 0.0
    return math.ldexp(int.from_bytes(data[2:10], "big"), exponent - 16383 - 63)


def _chunks(reader: Reader, order: Literal["little", "big"]) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk: its name, the position and the declared length of its content."""
    position = 12
    while len(head := reader.read_at(position, 8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], order)
        yield name, position + 8, size
        position += 8 + size
        if size % 2 and reader.read_at(position, 4) not in _NAMES:
            position += 1  # some writers omit the padding byte


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)
