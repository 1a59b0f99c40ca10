"""Redaction: replaces known secrets, URL queries and URL credentials in text that is logged, stored or shown.

The last line of defence: our code does not log secrets, but error messages of libraries quote whole addresses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

_URL = re.compile(r"://(?:[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#\"'<>]*)(?P<tail>[?#][^\s\"'<>]*)?")
"""An address after its scheme. To match the scheme as well would take quadratic time for a text such as
`a.a.a.a`, in which each letter could begin one."""
_HEX = re.compile("%[0-9A-F]{2}")
MIN_SECRET_CHARACTERS = 4
"""Shorter secrets are not redacted: that would garble every line and hide nothing."""
MIN_PREFIX_CHARACTERS = 8
"""How much of a secret's beginning must precede an ellipsis to be redacted. Less may be a prefix such as `whsec_`."""
ELLIPSIS = "…"


def truncate(text: str, max_characters: int) -> str:
    """At most `max_characters` of a text; a truncated one ends with an ellipsis.

    Without a `Redactor` a secret may be truncated; the ellipsis lets a redactor find its beginning later.
    """
    return text if len(text) <= max_characters else text[: max(0, max_characters - len(ELLIPSIS))] + ELLIPSIS


class Redactor:
    """Redacts secrets in text.

    Args:
        secrets: texts that must never appear. They are also found in the form of JSON, of percent-encoding in an
            address, and of Python's `repr`, and if `truncate` has left only their beginning.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: tuple[str, ...] = ()
        self._encoded: tuple[str, ...] = ()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Redact these secrets as well, from now on."""
        forms: set[str] = set(self._secrets)
        encoded: set[str] = set(self._encoded)
        for secret in secrets:
            if len(secret) >= MIN_SECRET_CHARACTERS:
                for form in (secret, repr(secret)[1:-1]):
                    forms |= {form, json.dumps(form)[1:-1], json.dumps(form, ensure_ascii=False)[1:-1]}
                encoded |= _percent_encoded(secret)
        self._secrets = tuple(sorted(forms, key=len, reverse=True))
        self._encoded = tuple(sorted(encoded - forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "[redacted]")
        if "%" in text:
            for secret in self._encoded:
                text = text.replace(secret, "[redacted]")
        if ELLIPSIS in text:
            for secret in (*self._secrets, *self._encoded):
                text = _without_prefixes(text, secret)
        if "://" in text:
            text = _URL.sub(_without_query, text)
        return text

    def bounded(self, text: str, max_characters: int) -> str:
        """At most `max_characters` of the text without secrets. Redacted first: half a secret would not be found."""
        return truncate(self(text), max_characters)


def _percent_encoded(secret: str) -> set[str]:
    """The forms of the secret in an address or a form, with hex digits in either case."""
    upper = {quote(secret, safe=safe, errors="surrogatepass") for safe in ("", "/", "/:@!$&'()*+,;=")}
    upper.add(quote_plus(secret, errors="surrogatepass"))
    return upper | {_HEX.sub(lambda match: match[0].lower(), form) for form in upper}


def _without_prefixes(text: str, secret: str) -> str:
    """The text without prefixes of the secret that precede an ellipsis."""
    head = secret[:MIN_PREFIX_CHARACTERS]
    if len(head) < MIN_PREFIX_CHARACTERS or head not in text:
        return text
    pieces, done, at = [], 0, text.find(head)
    while at >= 0:
        end = at + MIN_PREFIX_CHARACTERS
        while end < len(text) and secret.startswith(text[at : end + 1]):
            end += 1
        if text.startswith(ELLIPSIS, end):
            pieces += [text[done:at], "[redacted]"]
            done = end
        at = text.find(head, end)
    return "".join([*pieces, text[done:]])


def _without_query(match: re.Match[str]) -> str:
    return f"://{match['rest']}{'?[redacted]' if match['tail'] else ''}"
