"""Text from outside, made safe to show: nothing in it moves a cursor, changes a colour or turns the order of letters.

Every log line and everything that a command prints goes through one of these. What is escaped is what Python calls not
printable: C0 and C1 controls, DEL, bidirectional and zero-width controls, line separators, unpaired surrogates,
code points that are not assigned. Cheap for ASCII, which most lines are.
"""

from __future__ import annotations

import re

_DEL = "\x7f"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_IN_JSON = re.compile(r"[^\x20-\x7e\n]")
"""What may have to be escaped in JSON: a control of its own layout can only be a line break."""
_KEPT = frozenset("\n\t")


def printable(text: str) -> str:
    """The text on one line; what is not printable as in a Python string: `\\n`, `\\x1b`, `\\u202e`."""
    if text.isascii() and not _CONTROL.search(text):
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def printable_lines(text: str) -> str:
    """As `printable`, but line breaks and tabs stay: for text that has a layout, such as a traceback."""
    if text.isascii() and not _CONTROL.search(text):
        return text
    return "".join(char if char in _KEPT or char.isprintable() else _escaped(char) for char in text)


def printable_json(text: str) -> str:
    """A JSON text with the same value, in which `\\u` escapes stand for what is not printable."""
    if text.isascii() and _DEL not in text:
        return text  # a JSON writer has escaped the other controls
    return _CONTROL_IN_JSON.sub(_json_control, text)


def escaped_in_json(char: str) -> str:
    """A character as JSON escapes it: `\\uXXXX` for each of its UTF-16 units."""
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _json_control(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else escaped_in_json(match[0])
