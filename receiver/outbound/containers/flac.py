"""FLAC: the duration is where the last frame ends; the header's may be missing, or that of a file that was cut off.

Source: RFC 9639, sections 8.2 (STREAMINFO) and 9.1 (frame header).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from receiver.outbound.containers.reader import WINDOW, FoundFacts, Reader, Unreadable
from receiver.outbound.containers.tags import audio_start

_STREAMINFO = 34
_RATES = (0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
_MAX_HEADER_BYTES = 16


def _crc8_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1 ^ 0x07 if byte & 0x80 else byte << 1) & 0xFF
    return byte


_CRC8 = bytes(map(_crc8_of, range(256)))
"""The checksum of each byte: very many bytes of a hostile file look like a frame's first."""


class StreamInfo(NamedTuple):
    """The block that every file begins with: samples of a block, Hz, channels, total samples (0: unknown)."""

    block: int
    longest_block: int
    rate: int
    channels: int
    total: int


def stream_info(data: bytes) -> StreamInfo:
    """Read the 34 bytes of a STREAMINFO block."""
    packed = int.from_bytes(data[10:18], "big")
    return StreamInfo(
        int.from_bytes(data[:2], "big"),
        int.from_bytes(data[2:4], "big"),
        packed >> 44,
        (packed >> 41 & 7) + 1,
        packed & (1 << 36) - 1,
    )


def read_flac(reader: Reader, found: FoundFacts) -> None:
    """Find the facts of a FLAC file, also after an ID3 tag.

    Raises:
        Unreadable: it does not begin as one, several are concatenated, or a bound of the reader is reached.
        OSError: the file cannot be read.
    """
    start = audio_start(reader)
    head = reader.read_exactly(start, 8 + _STREAMINFO)
    if head[:4] != b"fLaC" or head[4] & 0x7F or int.from_bytes(head[5:8], "big") != _STREAMINFO:
        raise Unreadable("it does not begin as a FLAC file")
    info = stream_info(head[8:])
    found.sample_rate, found.channels = info.rate or None, info.channels
    if info.rate == 0:
        return
    audio = _behind_metadata(reader, start)
    if any(reader.find(b"fLaC" + last + b"\0\0\x22", audio) is not None for last in (b"\0", b"\x80")):
        raise Unreadable("several files are concatenated")
    first = _read_header(reader.read_at(audio, _MAX_HEADER_BYTES), info)
    ends = _frame_ends(reader, audio, info)
    last = next(ends, None)
    if first is None or last is None:
        raise Unreadable("its first or last frame is not found")
    end = info.total if info.total and (last == info.total or info.total in ends) else last
    found.duration = (end - first.start) / info.rate  # one that was cut out of another file does not begin at 0


def _behind_metadata(reader: Reader, start: int) -> int:
    position = start + 4
    while True:
        head = reader.read_exactly(position, 4)
        position += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            return position


def _frame_ends(reader: Reader, audio: int, info: StreamInfo) -> Iterator[int]:
    """The end sample of each frame in the last bytes, from the last frame to the first."""
    end = reader.size
    for _ in range(16):  # of 64 KiB each: a frame of many channels can be longer than one
        start = max(audio, end - WINDOW + _MAX_HEADER_BYTES)
        piece = reader.read_at(start, min(WINDOW, reader.size - start))
        place = len(piece)
        while (place := piece.rfind(b"\xff", 0, place)) >= 0:
            reader.step()
            head = piece[place : place + _MAX_HEADER_BYTES]
            if (frame := _read_header(head, info)) is not None:
                yield frame.end
        if start <= audio:
            return
        end = start


class _Frame(NamedTuple):
    """A frame: its first sample, and the sample after its last."""

    start: int
    end: int


def _read_header(head: bytes, info: StreamInfo) -> _Frame | None:
    """The frame with this header; None if it is not a header of this stream."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8:
        return None
    block_code, rate_code, channel_code = head[2] >> 4, head[2] & 15, head[3] >> 4
    if block_code == 0 or rate_code == 15 or head[3] & 1:
        return None
    if (channel_code + 1 if channel_code < 8 else 2) != info.channels or channel_code > 10:
        return None
    number, length = _coded_number(head[4:])
    place = 4 + length
    if length == 0:
        return None
    extra = {6: 1, 7: 2}.get(block_code, 0)
    block = _block(block_code, head[place : place + extra])
    place += extra
    extra = {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    rate = int.from_bytes(head[place : place + extra], "big") * {12: 1000, 14: 10}.get(rate_code, 1)
    place += extra
    if rate_code and (rate if extra else _RATES[rate_code]) != info.rate:
        return None
    if len(head) <= place or _crc8(head[:place]) != head[place]:
        return None
    start = number if head[1] & 1 else number * info.block
    return _Frame(start, start + block)


def _block(code: int, extra: bytes) -> int:
    if code == 1:
        return 192
    if code < 6:
        return 576 << code - 2
    return int.from_bytes(extra, "big") + 1 if code < 8 else 256 << code - 8


def _coded_number(data: bytes) -> tuple[int, int]:
    """A number encoded like UTF-8, of up to 36 bits, and its length in bytes; length 0 if invalid."""
    first = data[0]
    if first < 0x80:
        return first, 1
    length = 8 - (first ^ 0xFF).bit_length()
    if not 2 <= length <= 7 or len(data) < length or any(byte >> 6 != 2 for byte in data[1:length]):
        return 0, 0
    number = first & 0x7F >> length
    for byte in data[1:length]:
        number = number << 6 | byte & 0x3F
    return number, length


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc
