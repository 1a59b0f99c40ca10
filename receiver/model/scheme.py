"""What every signature scheme is made of: keys, the result of a check, and how a header is read.

Nothing here reads a clock: `now` is passed in, and `Verified` has the skew. Whether an authentic delivery is too old is
the caller's decision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes, hmac

from receiver.errors import SignatureError
from receiver.model.delivery import Headers

MAX_SIGNATURES = 16
"""More signatures than this in one header are refused: no honest sender has so many keys."""
SECONDS = re.compile(r"[0-9]{1,12}\Z", re.ASCII)
"""Unix seconds in a header."""
WHITE_SPACE = " \t"
"""White space allowed around a header's value and the elements of a list in it (RFC 9110, 5.5 and 5.6.1)."""

_SHA256 = hashes.SHA256()


@dataclass(frozen=True, slots=True)
class Key:
    """One signing secret, ready to use.

    Attributes:
        id: names it in rows and logs; reveals nothing about the secret.
        secret: the bytes that go into HMAC, or an ed25519 public key's 32 bytes.
        public: whether `secret` is an ed25519 public key (`v1a`).
        not_before: unix seconds before which the key is not accepted; None for no bound.
        not_after: unix seconds after which the key is not accepted; None for no bound.
    """

    id: str
    secret: bytes
    public: bool = False
    not_before: float | None = None
    not_after: float | None = None
    _mac: hmac.HMAC = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_mac", hmac.HMAC(self.secret, _SHA256))

    def __repr__(self) -> str:
        return f"Key(id={self.id!r})"

    def mac(self, *parts: bytes) -> bytes:
        """HMAC-SHA256 over the parts, one after the other."""
        mac = self._mac.copy()  # half the price of setting the key up anew
        for part in parts:
            mac.update(part)
        return mac.finalize()

    def active(self, now: float) -> bool:
        """Whether the key is accepted at `now`."""
        return (self.not_before is None or now >= self.not_before) and (self.not_after is None or now <= self.not_after)


class Verified(NamedTuple):
    """A signature that holds.

    Attributes:
        key_id: the key that made it.
        timestamp: the signed unix seconds; None where the scheme signs no time.
        skew: `now` minus the timestamp, seconds; positive for the past.
        message_id: the signed id of the message; None where the scheme signs none.
    """

    key_id: str
    timestamp: int | None
    skew: float | None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one family of services signs.

    Attributes:
        headers: lower-case names of every header that the check reads; these are kept with the event.
        parse_secret: a configured secret's text to a `Key`; ValueError, with a message for an operator, if it is none.
        verify: raises `SignatureError` unless one of the keys made the signature.
        sign: header lines for a body: (secret text, body, unix seconds, message id) to name/value pairs; ValueError, as
            `parse_secret`, for a secret that cannot sign.
    """

    name: str
    headers: tuple[str, ...]
    parse_secret: Callable[[str, str], Key]
    verify: Callable[[Headers, bytes, Sequence[Key], float], Verified]
    sign: Callable[[str, bytes, int, str], list[tuple[str, str]]]


def single_header(headers: Headers, name: bytes) -> str:
    """The one value of a header, without white space around it (RFC 9110, 5.5).

    Two lines of one name are not joined: none of these headers is a list of values (RFC 9110, 5.3), and it is unknown
    which of two signatures was meant.

    Raises:
        SignatureError: it is missing, repeated, or not ASCII.
    """
    found: bytes | None = None
    for header, value in headers:
        if header == name:
            if found is not None:
                raise SignatureError(
                    f"The header {name.decode()} stands there more than once.", reason="repeated_header"
                )
            found = value
    if found is None:
        raise SignatureError(f"There is no {name.decode()} header.", reason="missing_header")
    try:
        return found.decode("ascii").strip(WHITE_SPACE)
    except UnicodeDecodeError:
        raise SignatureError(f"The header {name.decode()} is not ASCII.", reason="malformed_header") from None


def malformed(what: str) -> SignatureError:
    """The error for a header that does not have its scheme's form."""
    return SignatureError(what, reason="malformed_header")


def active_keys(keys: Iterable[Key], now: float) -> list[Key]:
    """The keys that are accepted at `now`, unix seconds.

    Raises:
        SignatureError: there is none.
    """
    active = [key for key in keys if key.active(now)]
    if not active:
        raise SignatureError("No configured signing secret is valid at this time.", reason="no_active_key")
    return active


def mismatch() -> SignatureError:
    """The error for a signature that none of the keys made."""
    return SignatureError(
        "No configured signing secret makes this signature over this body: another secret, or a changed body.",
        reason="mismatch",
    )


def text_key(id_: str, text: str) -> Key:
    """The secret is used as the text it is, also where it looks like hex or base64."""
    if not text or text != text.strip():
        raise ValueError("is empty or has white space around it")
    return Key(id_, text.encode())
