"""Bounds a traceback that is stored with its run: the innermost frames say most.

Of an exception group the innermost exceptions do: each keeps its own last frames and its message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

MAX_TRACEBACK_BYTES = 8192
MAX_MESSAGE_BYTES = 2048
"""Of the text after the last frame, which is the error that is stored beside it."""
MIN_PART_BYTES = 480
"""Of one exception of a group that is too long; of the others only as many are kept as have room."""
OMITTED = "  […]\n"

_RULE = re.compile(r"^ *(?P<opens>\+-)?\+-{16,}(?: (?:\d+|\.\.\.) -{16,})?$", re.MULTILINE)
"""The line before each exception of a group, and the one after the last."""
_GROUP_MARGIN = r"(?: *\| )?"


def innermost(text: str, max_bytes: int = MAX_TRACEBACK_BYTES) -> str:
    """The text of a traceback in at most `max_bytes` of UTF-8: its last frames, and the error.

    Of an exception group: those of each exception, as far as there is room.
    """
    if len(text.encode()) <= max_bytes:
        return text
    if _RULE.search(text):
        return _of_group(text, max_bytes)
    return _last_frames(text, max_bytes)


def _last_frames(text: str, max_bytes: int, margin: str = "") -> str:
    """Its last frames, and the error.

    Args:
        margin: a pattern of what may be before each line.
    """
    if len(text.encode()) <= max_bytes:
        return text
    frames = [match.start() for match in re.finditer(rf'^{margin}  File "', text, re.MULTILINE)]
    end = re.compile(rf"^{margin}\S", re.MULTILINE).search(text, frames[-1]) if frames else None
    message_at = end.start() if end else 0
    message = _first(text[message_at:], min(MAX_MESSAGE_BYTES, max_bytes // 2) if frames else max_bytes)
    left = max_bytes - len(message.encode()) - len(OMITTED.encode())
    starts = [start for start in frames if start < message_at and len(text[start:message_at].encode()) <= left]
    return OMITTED + text[starts[0] : message_at] + message if starts else message


def _of_group(text: str, max_bytes: int) -> str:
    """The parts of a group, each bounded: those without parts of their own first, which name the causes."""
    rules = list(_RULE.finditer(text))
    starts = [0, *(rule.start() for rule in rules)]
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    opens = [bool(rule["opens"]) for rule in rules]
    causes = [n for n, has_parts in enumerate([*opens, False]) if not has_parts]
    others = [n for n in range(len(parts)) if n not in causes]
    max_kept = max(1, max_bytes // MIN_PART_BYTES)
    kept = sorted([*causes[: max(1, max_kept - 1)], *others][:max_kept])
    left = max_bytes - (len(kept) + 1) * len(OMITTED.encode())
    bounded = dict(zip(kept, _shared_out([parts[n] for n in kept], left), strict=True))
    lines = (bounded.get(n, OMITTED) for n in range(len(parts)))
    return "".join(_without_repeated(lines))


def _shared_out(parts: Sequence[str], max_bytes: int) -> list[str]:
    """The parts, bounded so that they have this many bytes together; what a short one leaves is for the others."""
    bounded = list(parts)
    by_size = sorted(range(len(parts)), key=lambda n: len(parts[n].encode()))
    for done, n in enumerate(by_size):
        bounded[n] = _part(parts[n], max_bytes // (len(parts) - done))
        max_bytes -= len(bounded[n].encode())
    return bounded


def _part(text: str, max_bytes: int) -> str:
    if len(text.encode()) <= max_bytes:
        return text
    rule = _RULE.match(text)
    head = "" if rule is None else text[: rule.end() + 1]
    left = max_bytes - len(head.encode()) - 1
    if left <= 0:
        return _first(text, max_bytes)
    return head + _last_frames(text[len(head) :], left, _GROUP_MARGIN).rstrip("\n") + "\n"


def _without_repeated(lines: Iterator[str]) -> Iterator[str]:
    before = ""
    for line in lines:
        if line != OMITTED or before != OMITTED:
            yield line
        before = line


def _first(text: str, max_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    return encoded[: max(0, max_bytes - len("…".encode()))].decode(errors="ignore") + "…"
