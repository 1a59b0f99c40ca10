"""Files of tasks that are not audio: JSON, subtitles and text. Pure.

Only a task may end with one. Its format is decided by the response's media type and by its bytes, which must agree:
neither is believed alone. Markup is none of them, so an error page is never stored as a result.
"""

from __future__ import annotations

import codecs
import re

from receiver.errors import InvalidJson
from receiver.model.json_body import read_strict_json
from receiver.outbound.formats import Format

MAX_DOCUMENT_BYTES = 8 << 20
"""The largest document: it is read into memory."""

JSON = Format("json", "application/json", "json")
SRT = Format("srt", "application/x-subrip", "srt")
VTT = Format("vtt", "text/vtt", "vtt")
TEXT = Format("txt", "text/plain", "txt")

_UNSPECIFIC = frozenset({"", "application/octet-stream", "binary/octet-stream", "text/plain"})
"""Media types that storages give to any file; a format with a signature of its own is recognised under them."""
_SRT_TYPES = frozenset({"application/x-subrip", "application/srt", "text/srt", "text/x-srt"})
_CUE = re.compile(
    r"\d{1,9}[ \t]*\r?\n\d{1,3}:\d\d:\d\d[,.]\d{1,3}[ \t]*-->[ \t]*\d{1,3}:\d\d:\d\d[,.]\d{1,3}", re.ASCII
)
_VTT = re.compile(r"WEBVTT(?:[ \t\r\n]|\Z)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")


def media_type(content_type: str | None) -> str:
    """The media type of a `Content-Type`, in lower case, without parameters; empty if there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


def sniff_document(head: bytes, media: str) -> Format | None:
    """The format of a document that begins with `head`; None if it is none, or not what its media type says.

    Args:
        head: the first bytes; a character at their end may be incomplete.
        media: as `media_type` returns it.
    """
    text = _text(head, whole=False)
    if text is None:
        return None
    start = text.lstrip()
    if not start or start[0] == "<":
        return None
    if _VTT.match(text):
        return VTT if media in _UNSPECIFIC or media == "text/vtt" else None
    if _CUE.match(start):
        return SRT if media in _UNSPECIFIC or media in _SRT_TYPES else None
    is_json = media == "application/json" or media.endswith("+json")
    if start[0] in "{[" and (is_json or media in _UNSPECIFIC):
        return JSON
    return TEXT if media == "text/plain" else None


def read_document(data: bytes, media: str) -> Format | None:
    """The format of a complete document, as `sniff_document`; JSON is read to its end."""
    found = sniff_document(data, media)
    if found is None or _text(data, whole=True) is None:
        return None
    if found is JSON:
        try:
            read_strict_json(data.removeprefix(codecs.BOM_UTF8))
        except InvalidJson:
            return TEXT if media == "text/plain" else None
    return found


def _text(data: bytes, *, whole: bool) -> str | None:
    """UTF-8 without control characters, or None."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data, whole)
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text
