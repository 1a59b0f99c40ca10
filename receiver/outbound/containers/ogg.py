"""Ogg: the duration is that of its streams, one after another, from the position at the end of each one's last page.

Sources: RFC 3533 (pages), RFC 7845 (Opus: always 48 kHz, with a pre-skip), the Vorbis I and Ogg FLAC
mappings (xiph.org), the Speex manual.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.outbound.containers.flac import stream_info
from receiver.outbound.containers.reader import WINDOW, FoundFacts, Reader, Unreadable

_HEADER = 27
_UNSET = 1 << 63
"""Positions from here on are negative: -1 on a page that no packet ends on."""
_MAX_STREAMS = 16
"""Parallel streams."""


@dataclass(slots=True)
class _Stream:
    """One stream: Hz, channels, samples to be skipped; and the position so far.

    Attributes:
        packet: the maximum samples of a packet; None if the packet itself contains it (Opus).
        last: the position at the end of its last page; None before the first one.
    """

    rate: int
    channels: int
    packet: int | None
    skip: int = 0
    last: int | None = None

    def add(self, position: int, packets: int, first: bytes) -> None:
        """Add a page with audio: the position at its end, how many packets end on it, how its first one begins."""
        if self.last is None:
            # In a live recording from the middle of a stream the first position is larger than its page can hold.
            length = self.packet if self.packet is not None else _opus_length(first)
            if position > (packets + 1) * length:
                raise Unreadable("the stream does not begin at its beginning")
        elif position < self.last:
            raise Unreadable("the positions in the stream go backwards")
        self.last = position

    def seconds(self) -> float:
        return max(0, (self.last or 0) - self.skip) / self.rate


def read_ogg(reader: Reader, found: FoundFacts) -> None:
    """Find the facts of an Ogg file of Opus, Vorbis, FLAC or Speex, also with several streams in a row.

    Raises:
        Unreadable: it is invalid, or a bound of the reader is reached.
        OSError: the file cannot be read.
    """
    position: int | None = 0
    streams: dict[int, _Stream] = {}
    seconds, playing = 0.0, False
    while position is not None and len(head := reader.read_at(position, _HEADER + 255)) >= _HEADER:
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
            _begin(streams, serial, reader.read_at(body, 80), found, first=seconds == 0 and not streams)
        elif serial in streams and 0 < ends_at < _UNSET:  # the pages of headers are at 0
            playing = True
            packets = sum(segment < 255 for segment in segments)
            streams[serial].add(ends_at, packets, reader.read_at(body, 2))
        position = body + size
    found.duration = seconds + _longest(streams)


def _begin(streams: dict[int, _Stream], serial: int, packet: bytes, found: FoundFacts, *, first: bool) -> None:
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
    """The audio stream that begins with this packet; None if its codec is unknown."""
    stream = None
    if packet[:8] == b"OpusHead" and len(packet) >= 19:
        stream = _Stream(48_000, packet[9], None, int.from_bytes(packet[10:12], "little"))
    elif packet[:7] == b"\x01vorbis" and len(packet) >= 29:
        longest = 1 << (packet[28] >> 4)
        stream = _Stream(int.from_bytes(packet[12:16], "little"), packet[11], longest // 2)
    elif packet[:5] == b"\x7fFLAC" and len(packet) >= 51:
        info = stream_info(packet[17:51])
        stream = _Stream(info.rate, info.channels, info.longest_block)
    elif packet[:8] == b"Speex   " and len(packet) >= 68:
        rate, channels, frame, frames = (int.from_bytes(packet[at : at + 4], "little") for at in (36, 48, 56, 64))
        stream = _Stream(rate, channels, frame * max(1, frames))
    return stream if stream is not None and stream.rate > 0 else None


def _opus_length(packet: bytes) -> int:
    """Samples of an Opus packet at 48 kHz, by its first two bytes (RFC 6716, 3.1 and 3.2.5)."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config % 4]
    elif config < 16:
        frame = (480, 960)[config % 2]
    else:
        frame = (120, 240, 480, 960)[config % 4]
    count = 1 if code == 0 else 2 if code < 3 else packet[1] & 63 if len(packet) > 1 else 1
    return frame * count


def _longest(streams: dict[int, _Stream]) -> float:
    return max((stream.seconds() for stream in streams.values()), default=0.0)


def _next_page(reader: Reader, position: int) -> int | None:
    place = reader.find(b"OggS", position, position + WINDOW)
    if place is None and position + WINDOW < reader.size:
        raise Unreadable("there is no page where the next one should be")
    return place
