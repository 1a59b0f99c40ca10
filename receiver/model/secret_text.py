"""What a key or secret may look like, and how a text with one a line is read.

A secret that an editor, a shell or a clipboard has changed is still text, and would be used: no signature would verify,
without any hint why. So what no provider hands out is refused where it is configured. No message shows the secret.
"""

from __future__ import annotations

import re

MIN_SIGNING_SECRET_BYTES = 16
"""Bytes, after decoding where the secret is base64. Standard Webhooks asks for 24 bytes; what is shorter than 16 is a
placeholder or a word, and can be guessed offline from one delivery."""
COMMENT = "#"
"""A line that begins so holds no secret."""
_BOM = "\ufeff"
_ENCLOSED = re.compile(r"""(["'`]).*\1|\[.*\]|<.*>""")
"""As a copy from a configuration, a variable's definition or a documentation's placeholder begins and ends."""
_VERSION = re.compile(r"v1a?,(?=wh(sec|pk|sk)_)")
"""How some dashboards show a secret of Standard Webhooks."""


def secret_problem(text: str) -> str | None:
    """What is wrong with the text of a key or secret, continuing its name; None if it can be used."""
    if not text.strip(f" \t\r\n{_BOM}"):
        return "is empty"
    if _BOM in text:
        return "contains a byte order mark (BOM), an invisible character that some editors write; remove it"
    if "\n" in text or "\r" in text:
        return "has a line break in it; a key or secret is one line"
    if text != text.strip():
        return "has white space around it; remove it"
    for place, char in enumerate(text, 1):
        if not " " <= char <= "~":
            kind = "is not ASCII" if ord(char) > 0x7F else "is a control character"
            return f"cannot be right: its character {place} {kind}. Copy it again from where it was shown"
    if _ENCLOSED.fullmatch(text):
        return "is enclosed in quotes or brackets, which are no part of it: leave them out"
    if _VERSION.match(text):
        return "begins with a version and a comma, which are no part of it: leave out what is before wh…_"
    return None


def secret_lines(text: str) -> list[str]:
    """The secrets of a text with one a line. Blank lines and comments are passed over; lines end with LF or CRLF.

    Raises:
        ValueError: a line cannot be a secret; the message names the line.
    """
    secrets = []
    for number, line in _lines(text):
        if not is_secret_line(line):
            continue
        fault = secret_problem(line)
        if fault is not None:
            raise ValueError(f"line {number} {fault}")
        secrets.append(line)
    return secrets


def is_secret_line(line: str) -> bool:
    """Whether a line is neither blank nor a comment."""
    return bool(line.strip()) and not line.lstrip().startswith(COMMENT)


def without_last_newline(text: str) -> str:
    """A file's text without the newline (LF or CRLF) that editors and `echo` end it with."""
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _lines(text: str) -> list[tuple[int, str]]:
    return [(number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), 1)]
