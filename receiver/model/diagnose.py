"""Explains why a signature is invalid, for `tts-receiver verify`: tries the usual mistakes one by one.

The intake never uses it: it accepts nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from receiver.errors import SignatureError
from receiver.model.body_candidates import body_candidates
from receiver.model.delivery import Headers
from receiver.model.other_settings import WEAK_DIGESTS, other_settings
from receiver.model.scheme import Key, Scheme
from receiver.model.signature import SCHEMES

MAX_HEADERS = 16
"""With more header lines of one name than this, none is tried alone."""

_MILLISECONDS = re.compile(rb"(?:\A|\bt=)([0-9]{13})(?:\Z|,)")
_STRAY = re.compile(rb"[\s\"'\xa0\xc2\xe2\x80\x8b\x9c\x9d]+")
"""Characters that copying from a page, a terminal or a log adds: line breaks, quotes, other kinds of spaces."""

_SECRETS: tuple[tuple[str, Callable[[str], bytes]], ...] = (
    ("decoded from hex", bytes.fromhex),
    ("decoded from base64", lambda text: base64.b64decode(text.removeprefix("whsec_"), validate=True)),
    ("without its whsec_", lambda text: text.removeprefix("whsec_").encode()),
    ("with whsec_ before it", lambda text: f"whsec_{text}".encode()),
)


def explain(scheme: Scheme, headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> str | None:
    """The change that makes the signature valid, in a sentence or two; None if no known change does."""
    unbounded = [replace(key, not_before=None, not_after=None) for key in keys]

    def valid_with(headers: Headers, body: bytes, keys: Sequence[Key]) -> str | None:
        try:
            return scheme.verify(headers, body, keys, now).key_id
        except SignatureError:
            return None

    if (key_id := valid_with(headers, body, unbounded)) is not None:
        return f"It was made with the secret {key_id}, which is outside its validity (not_before, not_after)."
    for what, changed in _other_headers(scheme, headers):
        if valid_with(changed, body, unbounded) is not None:
            return f"It is valid {what}."
    for original in body_candidates(body):
        if valid_with(headers, original.body, unbounded) is not None:
            return f"It is valid for {original.what}. {original.advice}"
    for what, secrets in _other_secrets(unbounded):
        if valid_with(headers, body, secrets) is not None:
            return f"It is valid with the secret {what}: the sender must use the secret's text unchanged."
    return _other_text(scheme, headers, body, unbounded)


def _other_headers(scheme: Scheme, headers: Headers) -> Iterator[tuple[str, Headers]]:
    """Headers that the sender may have meant."""
    signed = [(name, value) for name, value in headers if name.decode("latin-1") in scheme.headers]
    yield (
        "without the white space and the quotes in the header",
        [(name, _STRAY.sub(b"", value)) for name, value in signed],
    )
    yield "with the time in seconds instead of milliseconds", [(name, _in_seconds(value)) for name, value in signed]
    names = [name for name, _ in signed]
    if len(names) > MAX_HEADERS:
        return
    for repeated in sorted({name for name in names if names.count(name) > 1}):
        lines = [line for line in signed if line[0] == repeated]
        rest = [line for line in signed if line[0] != repeated]
        for number, line in enumerate(lines, 1):
            what = f"with line {number} of {len(lines)} of {repeated.decode()} alone: the others must not be added"
            yield what, [*rest, line]


def _in_seconds(value: bytes) -> bytes:
    found = _MILLISECONDS.search(value)
    return value if found is None else value[: found.end(1) - 3] + value[found.end(1) :]


def _other_secrets(keys: Sequence[Key]) -> Iterator[tuple[str, list[Key]]]:
    """Forms of the secrets that a sender may have used."""
    for what, make in _SECRETS:
        made = []
        for key in keys:
            if key.public:
                continue
            try:
                made.append(replace(key, secret=make(key.secret.decode("ascii"))))
            except (ValueError, binascii.Error):
                continue
        if made:
            yield what, made


def _other_text(scheme: Scheme, headers: Headers, body: bytes, keys: Sequence[Key]) -> str | None:
    """Other text that the sender may have signed, another digest or encoding; or a time in the wrong unit."""
    text, other = scheme.spec.signed_content, other_settings(scheme.spec, headers, body, keys)
    values = [value for name, value in headers if name.decode("latin-1") in scheme.headers]
    if scheme.spec.timestamp_format == "seconds" and any(_MILLISECONDS.search(value) for value in values):
        seconds = "The time in the header is in milliseconds: the sender must send and sign unix seconds."
        return f"{seconds} Otherwise it is valid." if other == {} else seconds
    if other is None:
        return None
    digest = other.get("digest", "")
    if digest in WEAK_DIGESTS:
        return f"It is valid with {digest.upper()}, which is too weak to be accepted: the sender must use SHA-256."
    if not other:
        return f"The HMAC is right, but {_other_form(scheme, headers)}"
    settings = ", ".join(f'{key} = "{value}"' for key, value in other.items())
    alone = "for the body alone, " if other == {"signed_content": "{body}"} else ""
    return f"It is valid {alone}with {settings}. The source expects that {text} is signed."


def _other_form(scheme: Scheme, headers: Headers) -> str:
    """How headers with a valid signature differ from those of the scheme."""
    names = {name.decode("latin-1").lower() for name, _ in headers}
    absent = sorted(set(scheme.headers) - names)
    if not absent:
        return "the header has another form than prefix, separator and timestamp_prefix describe."
    for preset, other in SCHEMES.items():
        if names.issuperset(other.headers):
            return f'it is in the headers of preset = "{preset}", and not in those of the source.'
    return f"it is in other headers: there is no {', '.join(absent)}. Set the names that the service uses."
