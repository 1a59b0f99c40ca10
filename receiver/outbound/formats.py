"""The format of an audio file, and its duration, sample rate and channels, without decoding it.

They are read from its bytes. A server's `Content-Type` is ignored: an error page sent as `audio/wav` must not be stored
as audio. The file is from outside, so the readers are our own: a library's loops have no bounds. A duration is computed
from the frames, pages and chunks that the file contains, since a header has the length that its writer expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from receiver.outbound.containers.chunks import read_aiff, read_wav
from receiver.outbound.containers.flac import read_flac
from receiver.outbound.containers.frames import ParseFrame, adts_frame, mp3_frame, read_frames
from receiver.outbound.containers.mp4 import read_mp4
from receiver.outbound.containers.ogg import read_ogg
from receiver.outbound.containers.reader import FoundFacts, Reader, Unreadable
from receiver.outbound.containers.tags import audio_start, id3_length
from receiver.outbound.containers.webm import read_webm

SNIFF_BYTES = 4096
"""How many first bytes make `sniff` reliable; a shorter file has fewer."""


@dataclass(frozen=True, slots=True)
class Format:
    """An audio format: its name, its media type, its extension without the dot."""

    name: str
    content_type: str
    extension: str


WAV = Format("wav", "audio/wav", "wav")
MP3 = Format("mp3", "audio/mpeg", "mp3")
OGG = Format("ogg", "audio/ogg", "ogg")
FLAC = Format("flac", "audio/flac", "flac")
M4A = Format("m4a", "audio/mp4", "m4a")
AAC = Format("aac", "audio/aac", "aac")
WEBM = Format("webm", "audio/webm", "webm")
AIFF = Format("aiff", "audio/aiff", "aiff")

# Pictures (avif, heic) and videos (qt) also begin with an `ftyp` box: only brands that are used for speech.
_MP4_BRANDS = frozenset(
    (b"M4A ", b"M4B ", b"mp41", b"mp42", b"isom", b"dash", b"f4a ", *(b"iso%d" % number for number in range(2, 10)))
)


def sniff(head: bytes) -> Format | None:
    """The format of a file that begins with `head`; None if it is not a known audio format.

    A file with an ID3 tag is taken for an MP3; `sniff_file` looks behind the tag.

    Args:
        head: the first bytes, 64 or more unless the file is shorter; `SNIFF_BYTES` are better.
    """
    return MP3 if id3_length(head) else _sniff(head)


def sniff_file(path: Path) -> Format | None:
    """The format of a file; None if it is not a known audio format. Blocks.

    ID3 tags also occur before other formats than MP3, and may be longer than `SNIFF_BYTES`. A tag before unknown bytes
    is taken for an MP3's.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        reader = Reader(file)
        head = reader.read_at(0, SNIFF_BYTES)
        if not id3_length(head):
            return _sniff(head)
        try:
            return _sniff(reader.read_at(audio_start(reader), SNIFF_BYTES)) or MP3
        except Unreadable:
            return MP3


def _sniff(head: bytes) -> Format | None:
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
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
    if _is_frame(head, mp3_frame):
        return MP3
    if _is_frame(head, adts_frame):
        return AAC
    return None


def _is_frame(head: bytes, parse: ParseFrame) -> bool:
    """Whether the file begins with a frame and, as far as `head` reaches, another frame follows it."""
    frame = parse(head)
    if frame is None:
        return False
    following = head[frame.length :]
    return len(following) < 7 or parse(following) is not None


logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """A file's duration in seconds, sample rate in Hz, channels; None if uncertain."""

    duration: float | None = None
    sample_rate: int | None = None
    channels: int | None = None


_READERS: dict[Format, Callable[[Reader, FoundFacts], None]] = {
    WAV: read_wav,
    AIFF: read_aiff,
    MP3: lambda reader, found: read_frames(reader, found, mp3_frame),
    AAC: lambda reader, found: read_frames(reader, found, adts_frame),
    FLAC: read_flac,
    OGG: read_ogg,
    M4A: read_mp4,
    WEBM: read_webm,
}


def read_facts(path: Path, format: Format) -> Facts:
    """The facts of an audio file of this format. Blocks: it reads the file, in bounded bytes, steps and time.

    Never raises: a file whose facts cannot be read is still valid audio. Errors are logged.
    """
    found, size = FoundFacts(), 0
    try:
        with path.open("rb", buffering=0) as file:
            reader = Reader(file)
            size = reader.size
            _READERS[format](reader, found)
    except (Unreadable, OSError) as error:
        logger.info("audio.metadata_unknown", file=path.name, error=str(error))
    except Exception as error:  # noqa: BLE001 - a bug in a reader must not lose the audio
        logger.info("audio.metadata_unknown", file=path.name, error=type(error).__name__)
    return Facts(_seconds(found.duration, size), _whole(found.sample_rate), _whole(found.channels))


def _seconds(value: float | None, size: int) -> float | None:
    # No format stores more than a second in a byte: such a duration is wrong.
    return round(value, 6) if value is not None and math.isfinite(value) and 0 < value <= size else None


def _whole(value: int | None) -> int | None:
    return value if value is not None and 0 < value < 1 << 31 else None
