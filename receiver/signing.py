"""Signs the requests of handlers, with the schemes that the receiver verifies.

```python
headers = sign_tts(body, ctx.options.secret)
await ctx.http.post(url, content=body, headers=headers)
```

Sign the bytes that are sent: if the body is serialized again, its signature is no longer valid. Each secret makes a
signature, and the other side needs only one of the secrets, so that a secret can be rotated without interruption.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from receiver.model.scheme import MAX_SIGNATURES
from receiver.model.secret_keys import text_key
from receiver.model.signature import STANDARD_WEBHOOKS

__all__ = ["sign_standard_webhooks", "sign_tts"]

_MESSAGE_ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,256}\Z")


def sign_tts(body: bytes, secrets: str | Sequence[str], *, timestamp: int | None = None) -> dict[str, str]:
    """The header `X-TTS-Signature: t=<timestamp>,v1=<hex>`, HMAC-SHA256 over `<timestamp>.<body>`.

    Args:
        body: the bytes that are sent.
        secrets: one, or several during a rotation, the newest first; up to 16. Each is used as text.
        timestamp: unix seconds; now if not given.

    Raises:
        ValueError: there is no secret, there are too many, or one cannot be used. The message does not contain it.
    """
    seconds = _seconds(timestamp)
    elements = [f"t={seconds}"]
    for number, secret in enumerate(_secrets(secrets), 1):
        try:
            key = text_key("", secret)
        except ValueError as error:
            raise ValueError(f"The secret {number} {error}.") from None
        elements.append(f"v1={key.mac(b'%d.' % seconds, body).hex()}")
    return {"X-TTS-Signature": ",".join(elements)}


def sign_standard_webhooks(
    body: bytes, secrets: str | Sequence[str], *, message_id: str, timestamp: int | None = None
) -> dict[str, str]:
    """The headers `webhook-id`, `webhook-timestamp` and `webhook-signature` of Standard Webhooks 1.0.0.

    Args:
        body: the bytes that are sent.
        secrets: one, or several during a rotation, the newest first; up to 16. `whsec_` and base64 for HMAC-SHA256
            (`v1`), `whsk_` and base64 for ed25519 (`v1a`).
        message_id: the same for every attempt, such as `ctx.idempotency_key`: by it the other side detects duplicates.
        timestamp: unix seconds; now if not given.

    Raises:
        ValueError: there is no secret, there are too many, or one cannot sign (the message does not contain it); or
            `message_id` is empty, longer than 256 characters, or has a full stop, white space or a character beyond
            ASCII.
    """
    if not _MESSAGE_ID.match(message_id):
        raise ValueError("A message_id has 1 to 256 ASCII characters, without full stops and white space.")
    seconds = _seconds(timestamp)
    headers: dict[str, str] = {}
    signatures = []
    for number, secret in enumerate(_secrets(secrets), 1):
        try:
            headers = dict(STANDARD_WEBHOOKS.sign(secret, body, seconds, message_id))
        except ValueError as error:
            raise ValueError(f"The secret {number} {error}.") from None
        signatures.append(headers["webhook-signature"])
    return headers | {"webhook-signature": " ".join(signatures)}


def _secrets(secrets: str | Sequence[str]) -> list[str]:
    known = [secrets] if isinstance(secrets, str) else list(secrets)
    if not 1 <= len(known) <= MAX_SIGNATURES:
        raise ValueError(f"Between 1 and {MAX_SIGNATURES} secrets sign a body.")
    return known


def _seconds(timestamp: int | None) -> int:
    return int(time.time()) if timestamp is None else timestamp
