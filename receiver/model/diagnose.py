"""Why does a signature not hold? Tries the mistakes that people make, for `tts-receiver verify`.

Never used by the intake: it only explains, it accepts nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import replace

from receiver.errors import SignatureError
from receiver.model.delivery import Headers
from receiver.model.signature import Key, Scheme

_CHANGED_BODIES: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    (
        "the body without its last line break: give the exact bytes, with printf '%s' or --data-binary",
        lambda b: b.rstrip(b"\r\n"),
    ),
    ("the body with a line break at its end", lambda b: b + b"\n"),
    ("the body with LF instead of CRLF line ends", lambda b: b.replace(b"\r\n", b"\n")),
    ("an empty body: the body was lost on the way", lambda b: b""),
)


def explain(scheme: Scheme, headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> str | None:
    """A sentence about what would have made the signature hold, or None if nothing that we know would."""

    def holds(body: bytes, keys: Sequence[Key]) -> str | None:
        try:
            return scheme.verify(headers, body, keys, now).key_id
        except SignatureError:
            return None

    unbounded = [replace(key, not_before=None, not_after=None) for key in keys]
    if (key_id := holds(body, unbounded)) is not None:
        return f"The secret {key_id} makes it, but is outside its validity (not_before, not_after)."
    for what, change in _CHANGED_BODIES:
        if change(body) != body and holds(change(body), unbounded) is not None:
            return f"It holds over {what}."
    for what, decode in (("hex", bytes.fromhex), ("base64", lambda text: base64.b64decode(text, validate=True))):
        decoded = [item for key in unbounded if (item := _decoded(key, decode)) is not None]
        if decoded and holds(body, decoded) is not None:
            return f"It holds with the secret decoded from {what}: the sender must use the secret as the text it is."
    return None


def _decoded(key: Key, decode: Callable[[str], bytes]) -> Key | None:
    try:
        text = key.secret.decode("ascii").removeprefix("whsec_")
        return replace(key, secret=decode(text))
    except (ValueError, binascii.Error):
        return None
