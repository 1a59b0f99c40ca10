"""MP3 and raw AAC: streams of frames without a header for the file. The duration is that of all frames.

The number of frames in a Xing or Info header is not used: if files were concatenated it is that of the first one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from receiver.outbound.containers.reader import WINDOW, FoundFacts, Reader, Unreadable
from receiver.outbound.containers.tags import audio_start, tag_length

_V1_BITRATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2_BITRATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_V1_RATES = (44_100, 48_000, 32_000)
AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)

_HEAD = 180
"""Bytes of a frame that are read: up to the end of a LAME tag after the longest side information."""
_MAX_KINDS = 64


class Frame(NamedTuple):
    """One frame: bytes, samples per channel, samples per second, channels (0 if not in the header)."""

    length: int
    samples: int
    rate: int
    channels: int


ParseFrame = Callable[[bytes], Frame | None]


def mp3_frame(head: bytes) -> Frame | None:
    """The MPEG layer III frame that `head` begins with (ISO/IEC 11172-3, 2.4.1.3); None if there is none."""
    return _mp3_frame(head[:4])


@lru_cache(maxsize=1024)
def _mp3_frame(head: bytes) -> Frame | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3 or head[3] & 3 == 2:
        return None
    channels = 1 if head[3] >> 6 == 3 else 2
    if version == 3:
        hertz = _V1_RATES[rate]
        return Frame(144_000 * _V1_BITRATES[bitrate] // hertz + padding, 1152, hertz, channels)
    hertz = _V1_RATES[rate] // (2 if version == 2 else 4)
    return Frame(72_000 * _V2_BITRATES[bitrate] // hertz + padding, 576, hertz, channels)


def adts_frame(head: bytes) -> Frame | None:
    """The ADTS frame that `head` begins with (ISO/IEC 13818-7, 6.2); None if there is none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return None
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if length <= 7:
        return None
    channels = (head[2] & 1) << 2 | head[3] >> 6
    return Frame(length, 1024 * (1 + (head[6] & 3)), AAC_RATES[head[2] >> 2 & 15], 8 if channels == 7 else channels)


def read_frames(reader: Reader, found: FoundFacts, parse: ParseFrame) -> None:
    """Find the facts of a file of frames by reading all their headers. Tags before, between and after are skipped.

    Raises:
        Unreadable: too many bytes follow that are not a frame, or a bound of the reader is reached.
        OSError: the file cannot be read.
    """
    walk = _FrameCounter()
    try:
        walk.over(reader, parse)
    finally:
        found.sample_rate, found.channels = walk.rate, walk.channels
    found.duration = walk.seconds()


class _FrameCounter:
    """Counts frames: samples by rate and channels, and the samples that the encoder says it added."""

    def __init__(self) -> None:
        self._samples: Counter[tuple[int, int]] = Counter()
        self._frames = 0
        self._encoder_info: EncoderInfo | None = None

    def over(self, reader: Reader, parse: ParseFrame) -> None:
        position: int | None = audio_start(reader)
        while position is not None and position < reader.size:
            head = reader.read_at(position, _HEAD)
            frame = parse(head)
            if frame is None:
                tag = tag_length(head)
                position = position + tag if tag else _next_frame(reader, position, parse)
                continue
            info = read_encoder_info(head, frame)
            if info is None:
                self._frames += 1
                self._samples[frame.rate, frame.channels] += frame.samples
                if len(self._samples) > _MAX_KINDS:
                    raise Unreadable("the frames are of too many kinds")
            elif self._frames == 0:
                self._encoder_info = info
            position += frame.length

    @property
    def rate(self) -> int | None:
        """The rate of all frames; None if it differs."""
        rates = {rate for rate, _ in self._samples}
        return rates.pop() if len(rates) == 1 else None

    @property
    def channels(self) -> int | None:
        """The channels of all frames; None if they differ or are unknown."""
        channels = {count for _, count in self._samples}
        return (channels.pop() or None) if len(channels) == 1 else None

    def seconds(self) -> float:
        whole = sum(count / rate for (rate, _), count in self._samples.items())
        if (
            self._encoder_info is not None and self._encoder_info.frames == self._frames and self.rate
        ):  # of this file, and no other
            return whole - self._encoder_info.padding / self.rate
        return whole


def _next_frame(reader: Reader, position: int, parse: ParseFrame) -> int | None:
    """The position of the next frame after other bytes: one that is followed by a similar one, or ends the file.

    Returns:
        None if there is none up to the end of the file.

    Raises:
        Unreadable: there is none within `WINDOW` bytes.
    """
    piece = reader.read_at(position, WINDOW)
    place = piece.find(b"\xff", 1)
    while place >= 0:
        reader.step()
        frame = parse(piece[place : place + _HEAD])
        if frame is not None:
            after = position + place + frame.length
            following = parse(reader.read_at(after, _HEAD))
            if after == reader.size or (following is not None and following.rate == frame.rate):
                return position + place
        place = piece.find(b"\xff", place + 1)
    if position + len(piece) >= reader.size:
        return None
    raise Unreadable("there is no audio where the next frame should be")


class EncoderInfo(NamedTuple):
    """A frame without audio with the encoder's information: how many frames follow, how many samples it added."""

    frames: int
    padding: int


def read_encoder_info(head: bytes, frame: Frame) -> EncoderInfo | None:
    """The encoder's information in an MP3 frame; None if it is a frame of audio.

    Sources: gabriel.mp3-tech.org, "Mp3 info tag revision 1 specifications" (LAME); Fraunhofer's VBRI header.
    """
    side = (17 if frame.channels == 1 else 32) if frame.samples == 1152 else (9 if frame.channels == 1 else 17)
    if head[4 + side : 8 + side] not in (b"Xing", b"Info"):
        return EncoderInfo(0, 0) if head[36:40] == b"VBRI" else None
    info = head[8 + side :]
    frames = int.from_bytes(info[4:8], "big") if info[3:4] and info[3] & 1 else 0
    lame = info[4 + sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if info[3:4] and info[3] & bit) :]
    if lame[:4] not in (b"LAME", b"Lavc", b"Lavf") or len(lame) < 24:
        return EncoderInfo(frames, 0)
    return EncoderInfo(frames, (lame[21] << 4 | lame[22] >> 4) + ((lame[22] & 15) << 8 | lame[23]))
