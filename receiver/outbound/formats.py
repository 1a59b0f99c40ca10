"""The format of audio, detected from its bytes.

A server's `Content-Type` is not asked: an error page sent as `audio/wav` must not become a file called audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from receiver.outbound.containers.frames import Parse, adts_frame, mp3_frame
from receiver.outbound.containers.reader import Reader, Unreadable
from receiver.outbound.containers.tags import audio_start, id3_length

SNIFF_BYTES = 4096
"""How many first bytes make a certain answer; `sniff` does with fewer at the end of a short file."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of audio file: our word for it, its media type, its extension without the dot."""

    word: str
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

# An `ftyp` box opens pictures too (avif, heic) and films (qt): only brands that speech comes in.
_MP4_BRANDS = frozenset(
    (b"M4A ", b"M4B ", b"mp41", b"mp42", b"isom", b"dash", b"f4a ", *(b"iso%d" % number for number in range(2, 10)))
)


def sniff(head: bytes) -> Format | None:
    """The format of a file that begins with `head`; None if it is no audio that we know.

    An ID3 tag that is longer than `head` is taken for an MP3's; `sniff_file` looks behind it.

    Args:
        head: the first bytes, 64 or more unless the file is shorter; `SNIFF_BYTES` are better.
    """
    return MP3 if id3_length(head) else _sniff(head)


def sniff_file(path: Path) -> Format | None:
    """The format of a file; None if it is no audio that we know. Blocks.

    Other audio than MP3 is also put behind ID3 tags, and these may be longer than any first bytes. A tag before
    nothing that we know is an MP3's, as ever.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        reader = Reader(file)
        head = reader.at(0, SNIFF_BYTES)
        if not id3_length(head):
            return _sniff(head)
        try:
            return _sniff(reader.at(audio_start(reader), SNIFF_BYTES)) or MP3
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


def _is_frame(head: bytes, parse: Parse) -> bool:
    """Whether a frame opens the file and, as far as `head` reaches, another frame follows it."""
    frame = parse(head)
    if frame is None:
        return False
    following = head[frame.length :]
    return len(following) < 7 or parse(following) is not None
