"""Ogg: its length is that of its streams, one after another, by the position that each one's last page ends at.

Sources: RFC 3533 (pages), RFC 7845 (Opus: 48 kHz whatever it was made from, and a pre-skip), the Vorbis I and Ogg FLAC
mappings (xiph.org), the Speex manual.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.outbound.containers.flac import stream_info
from receiver.outbound.containers.reader import WINDOW, Found, Reader, Unreadable

_HEADER = 27
_UNSET = 1 << 63
"""Positions from here on are below 0: -1 on a page that no packet ends on."""
_MAX_STREAMS = 16
"""Streams beside one another."""


@dataclass(slots=True)
class _Stream:
    """One stream: Hz, channels, samples to be skipped; and what its pages said so far.

    Attributes:
        first: the position that its first page of audio ends at.
        first_bytes: how long that page is.
        last: the position that its last page ends at.
        more_bytes: how long the pages after the first are, together.
    """

    rate: int
    channels: int
    skip: int
    first: int | None = None
    first_bytes: int = 0
    last: int = 0
    more_bytes: int = 0

    def add(self, position: int, size: int) -> None:
        if self.first is None:
            self.first, self.first_bytes = position, size
        else:
            self.more_bytes += size
        if position < self.last:
            raise Unreadable("the positions in the stream go backwards")
        self.last = position

    def seconds(self) -> float:
        first = self.first or 0
        # A recording that was joined late counts on from there. Its first page then holds far too much for its bytes.
        if self.first_bytes * (self.last - first) * 4 < first * self.more_bytes:
            raise Unreadable("the stream does not begin at its beginning")
        return max(0, self.last - self.skip) / self.rate


def read_ogg(reader: Reader, found: Found) -> None:
    """Find the facts of an Ogg file of Opus, Vorbis, FLAC or Speex; of several streams in a row too.

    Raises:
        Unreadable: it is broken, or a bound of the reader's is reached.
        OSError: the disk.
    """
    position: int | None = 0
    streams: dict[int, _Stream] = {}
    seconds, playing = 0.0, False
    while position is not None and len(head := reader.at(position, _HEADER + 255)) >= _HEADER:
        if head[:4] != b"OggS":
            position = _next_page(reader, position)
            continue
        segments = head[_HEADER : _HEADER + head[26]]
        body = position + _HEADER + len(segments)
        size = sum(segments)
        ends_at, serial = int.from_bytes(head[6:14], "little"), int.from_bytes(head[14:18], "little")
        if body + size > reader.size:
            break  # cut off
        if head[5] & 2:
            if playing:
                seconds += _longest(streams)
                streams, playing = {}, False
            _begin(streams, serial, reader.at(body, 64), found, first=seconds == 0 and not streams)
        elif serial in streams and 0 < ends_at < _UNSET:  # the pages of headers are at 0
            playing = True
            streams[serial].add(ends_at, size)
        position = body + size
    found.duration = seconds + _longest(streams)


def _begin(streams: dict[int, _Stream], serial: int, packet: bytes, found: Found, *, first: bool) -> None:
    stream = _stream(packet)
    if stream is None:
        return  # pictures, text, an index
    if len(streams) >= _MAX_STREAMS:
        raise Unreadable("there are too many streams")
    streams[serial] = stream
    if first:
        found.sample_rate, found.channels = stream.rate, stream.channels
    else:
        found.sample_rate = stream.rate if found.sample_rate == stream.rate else None
        found.channels = stream.channels if found.channels == stream.channels else None


def _stream(packet: bytes) -> _Stream | None:
    """The audio stream that begins with this packet; None if it is none that we know."""
    stream = None
    if packet[:8] == b"OpusHead" and len(packet) >= 19:
        stream = _Stream(48_000, packet[9], int.from_bytes(packet[10:12], "little"))
    elif packet[:7] == b"\x01vorbis" and len(packet) >= 16:
        stream = _Stream(int.from_bytes(packet[12:16], "little"), packet[11], 0)
    elif packet[:5] == b"\x7fFLAC" and len(packet) >= 51:
        info = stream_info(packet[17:51])
        stream = _Stream(info.rate, info.channels, 0)
    elif packet[:8] == b"Speex   " and len(packet) >= 52:
        stream = _Stream(int.from_bytes(packet[36:40], "little"), int.from_bytes(packet[48:52], "little"), 0)
    return stream if stream is not None and stream.rate > 0 else None


def _longest(streams: dict[int, _Stream]) -> float:
    return max((stream.seconds() for stream in streams.values()), default=0.0)


def _next_page(reader: Reader, position: int) -> int | None:
    place = reader.find(b"OggS", position, position + WINDOW)
    if place is None and position + WINDOW < reader.size:
        raise Unreadable("there is no page where the next one should be")
    return place
