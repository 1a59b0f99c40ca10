"""Reads the sample rate and the channels in the sample entry of an MP4 track.

Many writers put 2 into the entry's own number of channels, whatever the track has. So for AAC its configuration is
used; MP3 in MP4 has none. Sources as in `mp4.py`.
"""

from __future__ import annotations

from receiver.outbound.containers.frames import AAC_RATES
from receiver.outbound.containers.reader import WINDOW, Reader

_ES, _DECODER_CONFIG, _DECODER_SPECIFIC = 3, 4, 5
_FIELDS = {0: 28, 1: 44}
"""The length of an entry's fields before its boxes, by its version; 1 is QuickTime's."""


def read_entry(reader: Reader, start: int, end: int) -> tuple[int | None, int | None]:
    """Sample rate and channels of the first entry between two positions; None if unknown.

    Raises:
        Unreadable, OSError: as `Reader.read_at`.
    """
    entry = reader.read_at(start, min(WINDOW, max(0, end - start)))
    if len(entry) < 36:
        return None, None
    fields = entry[8:]
    channels = int.from_bytes(fields[16:18], "big") or None
    rate = int.from_bytes(fields[24:26], "big") or None
    begin = _FIELDS.get(int.from_bytes(fields[8:10], "big"))
    if entry[4:8] == b"mp4a" and begin is not None:
        config = _aac_config(_box(fields, begin, b"esds")[4:])
        return config[0] or rate, config[1]
    return rate, channels


def _box(data: bytes, start: int, name: bytes) -> bytes:
    """The content of the first box of this type from `start` on; empty if there is none."""
    while start + 8 <= len(data):
        size = int.from_bytes(data[start : start + 4], "big")
        if size < 8:
            return b""
        if data[start + 4 : start + 8] == name:
            return data[start + 8 : start + size]
        start += size
    return b""


def _aac_config(data: bytes) -> tuple[int | None, int | None]:
    """Rate and channels of the AudioSpecificConfig in the descriptors of an `esds`."""
    while len(data) >= 2:
        tag, length, size = data[0], 0, 1
        for byte in data[1:5]:
            length, size = length << 7 | byte & 0x7F, size + 1
            if byte < 0x80:
                break
        content = data[size:]
        if tag == _ES and len(content) >= 3:
            flags = content[2]
            skip = 3 + (2 if flags & 0x80 else 0)
            skip += (1 + content[skip] if flags & 0x40 and len(content) > skip else 0) + (2 if flags & 0x20 else 0)
            data = content[skip:]
        elif tag == _DECODER_CONFIG:
            if content[:1] != b"\x40":  # 0x40 is MPEG-4 audio; MP3 in MP4 is another
                return None, None
            data = content[13:]
        elif tag == _DECODER_SPECIFIC:
            return _specific_config(content[:length])
        else:
            data = content[length:]
    return None, None


def _specific_config(data: bytes) -> tuple[int | None, int | None]:
    bits, left = int.from_bytes(data[:8].ljust(8, b"\0"), "big"), 64

    def take(count: int) -> int:
        nonlocal left
        left -= count
        return bits >> left & (1 << count) - 1

    kind = take(5)
    kind = 32 + take(6) if kind == 31 else kind
    index = take(4)
    rate = take(24) if index == 15 else AAC_RATES[index] if index < len(AAC_RATES) else 0
    channels = take(4)
    if kind in (5, 29):  # explicit SBR: the output has this rate; with PS one channel becomes two
        index = take(4)
        rate = take(24) if index == 15 else AAC_RATES[index] if index < len(AAC_RATES) else 0
        channels = 2 if kind == 29 and channels == 1 else channels
    return rate or None, (8 if channels == 7 else channels if channels < 7 else 0) or None
