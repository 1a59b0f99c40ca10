"""The kinds of files that jobs end with."""

from __future__ import annotations

from enum import StrEnum


class FileKind(StrEnum):
    """What a file is, by its media type."""

    AUDIO = "audio"
    SUBTITLES = "subtitles"
    JSON = "json"
    TEXT = "text"


_KINDS = {
    "application/x-subrip": FileKind.SUBTITLES,
    "text/vtt": FileKind.SUBTITLES,
    "application/json": FileKind.JSON,
    "text/plain": FileKind.TEXT,
}


def kind_of_file(content_type: str) -> FileKind:
    """The kind of a stored file, by the media type that was determined from its bytes."""
    return _KINDS.get(content_type, FileKind.AUDIO)
