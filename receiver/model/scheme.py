"""The parts of signature schemes: keys, the result of a verification, and the reading of headers.

The time is passed in as `now`, and `Verified` has the skew. The caller decides whether an authentic delivery is too
old.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes, hmac

from receiver.errors import SignatureError
from receiver.model.delivery import Headers
from receiver.model.signature_spec import SignatureSpec

MAX_SIGNATURES = 16
"""More signatures than this in one header are refused: no legitimate sender has so many keys."""
WHITE_SPACE = " \t"
"""White space allowed around a header's value and the elements of a list in it (RFC 9110, 5.5 and 5.6.1)."""

_DIGESTS: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha512": hashes.SHA512()}


@dataclass(frozen=True, slots=True)
class Key:
    """One signing secret, ready to use.

    Attributes:
        id: its name in rows and logs; reveals nothing about the secret.
        secret: the HMAC key, or the 32 bytes of an ed25519 public key.
        public: whether `secret` is an ed25519 public key (`v1a`).
        not_before: unix seconds before which the key is not accepted; None for no limit.
        not_after: unix seconds after which the key is not accepted; None for no limit.
        digest: of the HMAC: `sha256` or `sha512`.
    """

    id: str
    secret: bytes
    public: bool = False
    not_before: float | None = None
    not_after: float | None = None
    digest: str = "sha256"
    _mac: hmac.HMAC = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_mac", hmac.HMAC(self.secret, _DIGESTS[self.digest]))

    def __repr__(self) -> str:
        return f"Key(id={self.id!r})"

    def mac(self, *parts: bytes) -> bytes:
        """The HMAC of the concatenated parts."""
        mac = self._mac.copy()  # takes half as long as a new HMAC
        for part in parts:
            mac.update(part)
        return mac.finalize()

    def active(self, now: float) -> bool:
        """Whether the key is accepted at `now`."""
        return (self.not_before is None or now >= self.not_before) and (self.not_after is None or now <= self.not_after)


class Verified(NamedTuple):
    """A valid signature.

    Attributes:
        key_id: the key that made it.
        timestamp: the signed unix seconds; None if the scheme signs no time.
        skew: `now` minus the timestamp, seconds; positive for the past.
        message_id: the signed message id; None if the scheme signs none.
    """

    key_id: str
    timestamp: float | None
    skew: float | None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one service, or one family of services, signs.

    Attributes:
        spec: what its signatures consist of.
        headers: lower-case names of every header that `verify` reads; they are stored with the event.
        parse_secret: (key id, secret text) to a `Key`; raises ValueError, with a message for an operator, if the text
            is not a secret.
        verify: raises `SignatureError` unless one of the keys made the signature.
        sign: (secret text, body, unix seconds, message id) to header lines; raises ValueError, as `parse_secret`, for a
            secret that cannot sign.
    """

    name: str
    spec: SignatureSpec
    headers: tuple[str, ...]
    parse_secret: Callable[[str, str], Key]
    verify: Callable[[Headers, bytes, Sequence[Key], float], Verified]
    sign: Callable[[str, bytes, int, str], list[tuple[str, str]]]


def single_header(headers: Headers, name: bytes) -> str:
    """The only value of a header, without white space around it (RFC 9110, 5.5).

    Repeated lines are not joined: none of these headers is a list of values (RFC 9110, 5.3), and it is unknown which
    of two signatures the sender meant.

    Raises:
        SignatureError: it is missing, repeated, or not ASCII.
    """
    found: bytes | None = None
    for header, value in headers:
        if header == name:
            if found is not None:
                raise SignatureError(f"The header {name.decode()} is repeated.", reason="repeated_header")
            found = value
    if found is None:
        raise SignatureError(f"There is no {name.decode()} header.", reason="missing_header")
    try:
        return found.decode("ascii").strip(WHITE_SPACE)
    except UnicodeDecodeError:
        raise SignatureError(f"The header {name.decode()} is not ASCII.", reason="malformed_header") from None


def malformed(what: str) -> SignatureError:
    """The error for a header that is malformed in its scheme."""
    return SignatureError(what, reason="malformed_header")


def no_active_key() -> SignatureError:
    """The error for a time at which none of the keys is accepted."""
    return SignatureError("No configured signing secret is valid at this time.", reason="no_active_key")


def mismatch() -> SignatureError:
    """The error for a signature that none of the keys made."""
    return SignatureError(
        "No configured signing secret makes this signature over this body: another secret, or a changed body.",
        reason="mismatch",
    )
