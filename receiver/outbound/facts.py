"""Duration, sample rate and channels of an audio file, without decoding it: a certain value, or none.

The file is from outside. Readers of our own, since a library's loops have no bounds; a length is counted from the
frames, pages and chunks that are there, since a header has the length that its writer expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from receiver.outbound.containers.chunks import read_aiff, read_wav
from receiver.outbound.containers.flac import read_flac
from receiver.outbound.containers.frames import adts_frame, mp3_frame, read_frames
from receiver.outbound.containers.mp4 import read_mp4
from receiver.outbound.containers.ogg import read_ogg
from receiver.outbound.containers.reader import Found, Reader, Unreadable
from receiver.outbound.containers.webm import read_webm
from receiver.outbound.formats import AAC, AIFF, FLAC, M4A, MP3, OGG, WAV, WEBM, Format

__all__ = ["Facts", "read_facts"]

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """A file's duration in seconds, sample rate in Hz, channels; None where uncertain."""

    duration: float | None = None
    sample_rate: int | None = None
    channels: int | None = None


_READERS: dict[Format, Callable[[Reader, Found], None]] = {
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

    Never raises: a file whose facts cannot be read is still the requested audio. Errors are logged.
    """
    found, size = Found(), 0
    try:
        with path.open("rb", buffering=0) as file:
            reader = Reader(file)
            size = reader.size
            _READERS[format](reader, found)
    except (Unreadable, OSError) as error:
        logger.info("audio.facts_unknown", file=path.name, error=str(error))
    except Exception as error:  # noqa: BLE001 - a reader's fault must not lose the audio
        logger.info("audio.facts_unknown", file=path.name, error=type(error).__name__)
    return Facts(_seconds(found.duration, size), _whole(found.sample_rate), _whole(found.channels))


def _seconds(value: float | None, size: int) -> float | None:
    # No format stores more than a second in a byte: such a length is false.
    return round(value, 6) if value is not None and math.isfinite(value) and 0 < value <= size else None


def _whole(value: int | None) -> int | None:
    return value if value is not None and 0 < value < 1 << 31 else None
