"""Checks the text of keys and secrets, and reads texts with one secret per line.

A secret that an editor, a shell or a clipboard has changed is still text: with it no signature would be valid, without
a hint why. So secrets that no provider issues are refused when the configuration is read. No message shows a secret.
"""

from __future__ import annotations

import re

MIN_SIGNING_SECRET_BYTES = 16
"""After decoding, if the secret is base64. Standard Webhooks requires 24 bytes. A secret of less than 16 is a
placeholder or a word, and can be guessed offline from one delivery."""
COMMENT = "#"
"""Begins a comment line."""
_BOM = "\ufeff"
_ENCLOSED = re.compile(r"""(["'`]).*\1|\[.*\]|<.*>""")
"""How copies from a configuration or a variable's definition, and placeholders in documentation, begin and end."""
_VERSION = re.compile(r"v1a?,(?=wh(sec|pk|sk)_)")
"""How some dashboards show a secret of Standard Webhooks."""


def secret_problem(text: str) -> str | None:
    """What is wrong with the text of a key or secret, to follow its name in a message; None if it can be used."""
    if not text.strip(f" \t\r\n{_BOM}"):
        return "is empty"
    if _BOM in text:
        return "contains a byte order mark (BOM), an invisible character that some editors write; remove it"
    if "\n" in text or "\r" in text:
        return "has a line break in it; a key or secret is one line"
    if text != text.strip():
        return "has white space around it; remove it"
    for position, char in enumerate(text, 1):
        if not " " <= char <= "~":
            kind = "is not ASCII" if ord(char) > 0x7F else "is a control character"
            return f"is not valid: its character {position} {kind}. Copy it again from where it was shown"
    if _ENCLOSED.fullmatch(text):
        return "is enclosed in quotes or brackets, which are no part of it: leave them out"
    if _VERSION.match(text):
        return "begins with a version and a comma, which are no part of it: leave out what is before wh…_"
    return None


def secret_lines(text: str) -> list[str]:
    """The secrets of a text with one secret per line. Blank lines and comments are ignored; lines end with LF or CRLF.

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
    """A file's text without the final newline (LF or CRLF) of editors and `echo`."""
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _lines(text: str) -> list[tuple[int, str]]:
    return [(number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), 1)]
