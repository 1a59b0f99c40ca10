"""What the bytes are, told from the bytes: the format by its first few, duration and rate by a reader of headers.

A server's `Content-Type` is not asked: an error page sent as `audio/wav` must not become a file called audio.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import structlog
from tinytag import TinyTag, TinyTagException

logger = structlog.get_logger(__name__)

SNIFF_BYTES = 4096
"""How many first bytes make a certain answer; `sniff` does with fewer at the end of a short file."""

_MAX_READ, _MAX_PIECE = 32 << 20, 4 << 20
"""How much of a file the reader of facts may read, in all and at once, in bytes: a crafted one asks for everything."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of audio file: our word for it, its media type, its extension without the dot."""

    word: str
    content_type: str
    extension: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file's headers say: duration in seconds, sample rate in Hz, channels; None where they do not."""

    duration: float | None = None
    sample_rate: int | None = None
    channels: int | None = None


WAV = Format("wav", "audio/wav", "wav")
MP3 = Format("mp3", "audio/mpeg", "mp3")
OGG = Format("ogg", "audio/ogg", "ogg")
FLAC = Format("flac", "audio/flac", "flac")
M4A = Format("m4a", "audio/mp4", "m4a")
AAC = Format("aac", "audio/aac", "aac")
WEBM = Format("webm", "audio/webm", "webm")
AIFF = Format("aiff", "audio/aiff", "aiff")

# An `ftyp` box opens pictures too (avif, heic) and films (qt): only brands that speech comes in.
_MP4_BRANDS = frozenset(
    (b"M4A ", b"M4B ", b"mp41", b"mp42", b"isom", b"dash", b"f4a ", *(b"iso%d" % number for number in range(2, 10)))
)
_V1_BITRATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2_BITRATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_V1_RATES = (44_100, 48_000, 32_000)


def sniff(head: bytes) -> Format | None:
    """The format of a file that begins with `head`; None if it is no audio that we know.

    Args:
        head: the first bytes, 64 or more unless the file is shorter; `SNIFF_BYTES` are better.
    """
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return WAV
    if head[:4] == b"OggS" and head[4:5] == b"\0":
        return OGG
    if head[:4] == b"fLaC":
        return FLAC
    if head[4:8] == b"ftyp" and head[8:12] in _MP4_BRANDS:
        return M4A
    if head[:4] == b"\x1a\x45\xdf\xa3" and b"webm" in head[:64]:
        return WEBM
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return AIFF
    if _is_id3(head) or _is_frame(head, _mp3_frame_length):
        return MP3
    if _is_frame(head, _adts_frame_length):
        return AAC
    return None


def _is_id3(head: bytes) -> bool:
    # Version 2.2 to 2.4; the four bytes of the size have their high bit clear (id3.org, ID3v2.4.0 structure, 3.1).
    return len(head) >= 10 and head[:3] == b"ID3" and head[3] in (2, 3, 4) and all(byte < 0x80 for byte in head[6:10])


def _is_frame(head: bytes, frame_length: Callable[[bytes], int | None]) -> bool:
    """Whether a frame opens the file and, as far as `head` reaches, another frame follows it."""
    length = frame_length(head)
    if length is None:
        return False
    following = head[length:]
    return len(following) < 7 or frame_length(following) is not None


def _mp3_frame_length(head: bytes) -> int | None:
    """Bytes of the MPEG layer III frame that `head` begins with (ISO/IEC 11172-3, 2.4.1.3); None if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3 or head[3] & 3 == 2:
        return None
    if version == 3:
        return 144_000 * _V1_BITRATES[bitrate] // _V1_RATES[rate] + padding
    return 72_000 * _V2_BITRATES[bitrate] // (_V1_RATES[rate] // (2 if version == 2 else 4)) + padding


def _adts_frame_length(head: bytes) -> int | None:
    """Bytes of the ADTS frame that `head` begins with (ISO/IEC 13818-7, 6.2); None if it is none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return None
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else None


def read_facts(path: Path) -> Facts:
    """Duration, sample rate and channels of an audio file, without decoding it. Blocks: it reads the file.

    Never raises: a file whose headers cannot be read is still the audio that was asked for. What went wrong is logged.
    """
    try:
        with path.open("rb") as file:
            tag = TinyTag.get(file_obj=cast("BinaryIO", _Frugal(file)))
    except (TinyTagException, OSError, ValueError) as error:
        logger.info("audio.facts_unknown", file=path.name, error=str(error) or type(error).__name__)
        return Facts()
    return Facts(_positive(_plausible(tag)), _whole(tag.samplerate), _whole(tag.channels))


def _plausible(tag: TinyTag) -> float | None:
    """The duration, but no longer than the file has bytes for.

    A WAV that was made while it was sent claims 2 or 4 GB, since nobody knew its length when the header was written.
    """
    duration, rate = tag.duration, (tag.bitrate or 0) * 125
    if duration is None or not (tag.mime_type or "").startswith("audio/wav") or rate <= 0:
        return duration
    return min(duration, tag.filesize / rate)


def _positive(value: float | None) -> float | None:
    return round(float(value), 6) if value is not None and math.isfinite(value) and value > 0 else None


def _whole(value: int | None) -> int | None:
    return int(value) if value is not None and 0 < value < 1 << 31 else None


class _Frugal(io.RawIOBase):
    """A file that refuses to be read without end: facts are in the headers."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._left = _MAX_READ

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= min(_MAX_PIECE, self._left):
            raise OSError("the headers are too long to be read")
        data = self._file.read(size)
        self._left -= len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
