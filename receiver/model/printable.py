"""Escapes control characters in text from outside, which could move the cursor, change colours or reorder letters.

Every log line and all output of commands passes one of these functions. They escape what is not printable in Python's
terms: C0 and C1 controls, DEL, bidirectional and zero-width controls, line separators, unpaired surrogates and
unassigned code points. Fast for ASCII, which most lines are.
"""

from __future__ import annotations

import re

_DEL = "\x7f"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_IN_JSON = re.compile(r"[^\x20-\x7e\n]")
"""Characters that may have to be escaped in JSON. The only control character of its layout is a line break."""
_KEPT = frozenset("\n\t")


def printable(text: str) -> str:
    """The text on one line, with characters that are not printable escaped as in Python: `\\n`, `\\x1b`, `\\u202e`."""
    if text.isascii() and not _CONTROL.search(text):
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def printable_lines(text: str) -> str:
    """As `printable`, but line breaks and tabs stay: for text with a layout, such as a traceback."""
    if text.isascii() and not _CONTROL.search(text):
        return text
    return "".join(char if char in _KEPT or char.isprintable() else _escaped(char) for char in text)


def printable_json(text: str) -> str:
    """A JSON text with the same value, with `\\u` escapes for characters that are not printable."""
    if text.isascii() and _DEL not in text:
        return text  # JSON writers escape the other control characters
    return _CONTROL_IN_JSON.sub(_json_control, text)


def storable(text: str) -> str:
    """The text without what a database cannot keep, which is escaped: NUL, and unpaired surrogates."""
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def escaped_in_json(char: str) -> str:
    """A character as JSON escapes it: `\\uXXXX` for each of its UTF-16 units."""
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _json_control(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else escaped_in_json(match[0])
