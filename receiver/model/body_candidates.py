"""Candidates for the original of a body that was changed after it was signed, for `tts-receiver verify`.

Frameworks parse a body and serialize it again, editors and shells add a line break or a byte order mark, tools change
line ends. Each change that is undone here occurs in practice. Bounded: some forty texts, and a hundred ways to write
JSON that is not large.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

MAX_JSON_BYTES = 262_144
"""A larger JSON body is not serialized again: that would take seconds, and no provider sends one."""
BOM = b"\xef\xbb\xbf"

AS_TEXT = "Something treats the body as text: keep its bytes unchanged, as printf '%s' and curl's --data-binary do."
PARSED = (
    "Something parsed the body and serialized it again: verify the signature over the raw bytes, before parsing them."
)


class BodyCandidate(NamedTuple):
    """A body that may have been signed.

    Attributes:
        body: its bytes.
        what: how it differs from the given body; completes "It is valid for …".
        advice: what to do; a sentence.
    """

    body: bytes
    what: str
    advice: str


def body_candidates(body: bytes) -> Iterator[BodyCandidate]:
    """Bodies from which this one may have been made, the most likely first, without repetitions."""
    seen = {body}
    for original in itertools.chain(_texts(body), _reserialized(body), _encoded(body), _empty()):
        if original.body not in seen:
            if len(original.body) <= MAX_JSON_BYTES:  # larger ones may be repeated; they are few
                seen.add(original.body)
            yield original


_Change = tuple[str, Callable[[bytes], bytes]]

_ENDS: tuple[_Change, ...] = (
    ("", lambda body: body),
    ("without its last line break", lambda body: body.rstrip(b"\r\n")),
    ("with a line break at its end", lambda body: body + b"\n"),
    ("with a line break (CRLF) at its end", lambda body: body + b"\r\n"),
)
_LINES: tuple[_Change, ...] = (
    ("", lambda body: body),
    ("with LF instead of CRLF line ends", lambda body: body.replace(b"\r\n", b"\n")),
    ("with CRLF instead of LF line ends", lambda body: body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")),
)
_MARKS: tuple[_Change, ...] = (
    ("", lambda body: body),
    ("without the byte order mark at its beginning", lambda body: body.removeprefix(BOM)),
    ("with a byte order mark at its beginning", lambda body: BOM + body.removeprefix(BOM)),
)


def _texts(body: bytes) -> Iterator[BodyCandidate]:
    """The body with other line ends, another end or beginning; first with one change, then with several."""
    ways = sorted(itertools.product(_ENDS, _LINES, _MARKS), key=lambda way: sum(bool(what) for what, _ in way))
    for end, lines, mark in ways:
        changed = mark[1](lines[1](end[1](body)))
        what = " and ".join(what for what, _ in (end, lines, mark) if what)
        yield BodyCandidate(changed, f"the body {what}", AS_TEXT)


def _encoded(body: bytes) -> Iterator[BodyCandidate]:
    """Bodies that were encoded in base64, or decoded with the wrong encoding and encoded again."""
    with contextlib.suppress(binascii.Error):
        original = base64.b64decode(body.strip(), validate=True)
        yield BodyCandidate(
            original,
            "the body decoded from base64",
            "Some code, such as a function behind an API gateway, receives the body in base64: decode it first.",
        )
    for table in ("latin-1", "cp1252"):
        try:
            original = body.decode().encode(table)
        except UnicodeError:
            continue
        yield BodyCandidate(
            original, f"the body, which was decoded as {table} and encoded as UTF-8 on its way", AS_TEXT
        )


def _empty() -> Iterator[BodyCandidate]:
    yield BodyCandidate(b"", "an empty body", "The body was lost on the way, or already read by other code.")


# JSON, serialized again


class _Number(str):
    """A number as text: 1.0 must not become 1."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Style:
    """One way to write JSON."""

    comma: str
    colon: str
    indent: int
    text: Callable[[str], str]
    sort: bool


_SPACES = (
    ("compact", ",", ":", 0),
    ("with a space after each comma and colon", ", ", ": ", 0),
    ("indented by two spaces", ",", ": ", 2),
    ("indented by four spaces", ",", ": ", 4),
)
_LETTERS = (
    ("letters beyond ASCII as they are", lambda text: json.dumps(text, ensure_ascii=False)),
    ("letters beyond ASCII as \\u escapes", json.dumps),
)
_ESCAPES: tuple[tuple[str, dict[int, str]], ...] = (
    ("", {}),
    (", each / as \\/", {ord("/"): "\\/"}),
    (", <, > and & as \\u escapes", {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}),
)
_ORDERS = (("", False), (", its keys sorted", True))
_LAST = (("", ""), (", with a line break at its end", "\n"))


def _reserialized(body: bytes) -> Iterator[BodyCandidate]:
    """The same JSON in the forms of the usual libraries; nothing if the body is not JSON."""
    if len(body) > MAX_JSON_BYTES:
        return
    try:
        document = json.loads(body.decode("utf-8-sig"), parse_int=_Number, parse_float=_Number, parse_constant=_Number)
        if isinstance(document, str) and not isinstance(document, _Number):
            yield BodyCandidate(document.encode(), "the text in the body, which is one JSON string", PARSED)
        for (escapes, table), (order, sort), (spaces, comma, colon, indent), (letters, text), (
            last,
            end,
        ) in itertools.product(_ESCAPES, _ORDERS, _SPACES, _LETTERS, _LAST):
            written = _write(document, _Style(comma, colon, indent, _escaping(text, table), sort)) + end
            what = f"the same JSON written {spaces}{order}, {letters}{escapes}{last}"
            yield BodyCandidate(written.encode(errors="surrogatepass"), what, PARSED)
    except (ValueError, RecursionError):  # not JSON, or nested too deeply
        return


def _escaping(text: Callable[[str], str], table: dict[int, str]) -> Callable[[str], str]:
    return (lambda value: text(value).translate(table)) if table else text


def _write(value: Any, style: _Style, depth: int = 1) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, str):
        return style.text(value)
    if isinstance(value, dict):
        items = sorted(value.items()) if style.sort else value.items()
        parts = [f"{style.text(key)}{style.colon}{_write(item, style, depth + 1)}" for key, item in items]
        return _joined("{", parts, "}", style, depth)
    if isinstance(value, list):
        return _joined("[", [_write(item, style, depth + 1) for item in value], "]", style, depth)
    return json.dumps(value)


def _joined(begin: str, parts: list[str], end: str, style: _Style, depth: int) -> str:
    if not parts or not style.indent:
        return begin + style.comma.join(parts) + end
    line = "\n" + " " * (style.indent * depth)
    return begin + line + f"{style.comma}{line}".join(parts) + line[: -style.indent] + end
