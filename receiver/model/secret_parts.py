"""The parts of configured values that are secrets of their own, because others quote them without the rest.

A service that refuses `Authorization: Bearer TOKEN` quotes the token without its scheme, and the path of a request with
its query but without its host.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus, urlsplit

MIN_QUERY_CHARACTERS = 8
"""A shorter value of a query, such as `json` or `true`, is redacted only together with its name."""

_CREDENTIALS = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,31}[ \t]+(?P<rest>\S.*)\Z", re.DOTALL)
"""The value of an Authorization header: the scheme, and what follows it (RFC 9110, 11.4).

Only letters, digits and hyphens, as in all registered schemes: a signing secret such as `whsec_…` is none."""
_PARAMETER = re.compile(r"=\"?([^\s\"',;=]{8,})")
"""The value of a parameter in a header, such as `Token token="abc"` or a cookie."""


def secret_parts(secret: str) -> Iterator[str]:
    """The secret, and its parts: what follows an authentication scheme, Basic's password, an address's secrets."""
    yield secret
    yield from address_secrets(secret)
    for match in _PARAMETER.finditer(secret):
        yield match[1]
    credentials = _CREDENTIALS.match(secret)
    if credentials is not None:
        rest = credentials["rest"]
        yield rest
        if secret[:5].lower() == "basic":
            yield from _basic(rest)


def address_secrets(text: str) -> Iterator[str]:
    """The secrets in a text that is an address: its credentials and its query. None of another text.

    A user name counts only without a password: then it is a token.
    """
    if "://" not in text:
        return
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that do not close
        return
    userinfo, at, _ = parts.netloc.rpartition("@")
    if at:
        user, colon, password = userinfo.partition(":")
        yield from _both(password if colon and password else user)
        yield from _both(userinfo)
    for query in (parts.query, parts.fragment):
        yield from _query(query)


def _query(query: str) -> Iterator[str]:
    yield from _both(query)
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        yield from _both(pair) if equals else ()
        if len(value or name) >= MIN_QUERY_CHARACTERS:
            yield from _both(value or name)
            yield unquote_plus(value or name)


def _both(text: str) -> Iterator[str]:
    """A part of an address as it is, and without percent-encoding."""
    if text:
        yield text
        yield unquote(text)


def _basic(encoded: str) -> Iterator[str]:
    try:
        pair = base64.b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError:  # no base64, or no UTF-8
        return
    yield pair
    yield pair.partition(":")[2]
