"""Bounds a traceback that is stored with its run: the innermost frames say most."""

from __future__ import annotations

import re

MAX_TRACEBACK_BYTES = 8192
MAX_MESSAGE_BYTES = 2048
"""Of the text after the last frame, which is the error that is stored beside it."""
OMITTED = "  […]\n"

_FRAME = re.compile(r'^  File "', re.MULTILINE)
_AFTER_FRAME = re.compile(r"^\S", re.MULTILINE)


def innermost(text: str, max_bytes: int = MAX_TRACEBACK_BYTES) -> str:
    """The text of a traceback in at most `max_bytes` of UTF-8: its last frames, and the error."""
    if len(text.encode()) <= max_bytes:
        return text
    frames = [match.start() for match in _FRAME.finditer(text)]
    end = _AFTER_FRAME.search(text, frames[-1]) if frames else None
    message_at = end.start() if end else 0
    message = _first(text[message_at:], MAX_MESSAGE_BYTES if frames else max_bytes)
    left = max_bytes - len(message.encode()) - len(OMITTED.encode())
    starts = [start for start in frames if start < message_at and len(text[start:message_at].encode()) <= left]
    return OMITTED + text[starts[0] : message_at] + message if starts else message


def _first(text: str, max_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    return encoded[: max_bytes - len("…".encode())].decode(errors="ignore") + "…"
