"""The webhooks of `aitts` as pure functions: bodies, signature, headers.

Written from the provider's documentation with the standard library alone: the receiver's own verification is tested
against code that it does not share.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

COMPLETED = "job.completed"
FAILED = "job.failed"
TEST = "test"


def sign(secret: str, body: bytes, t: int) -> str:
    """Return the value of `X-TTS-Signature` for `body` sent at `t` (unix seconds).

    Provider's documentation: `t=<t>,v1=<hex>` where hex is HMAC-SHA256 of `<t>.<raw body>`. The key is the secret's
    text as it is (UTF-8), even if it looks like hex or starts with `whsec_`.
    """
    mac = hmac.new(secret.encode(), b"%d." % t + body, hashlib.sha256)
    return f"t={t},v1={mac.hexdigest()}"


def delivery_headers(secret: str, body: bytes, t: int, *, event: str, delivery_id: str) -> dict[str, str]:
    """Return the headers of a delivery. Provider's documentation: the three `X-TTS-…`."""
    return {
        "Content-Type": "application/json",
        "X-TTS-Signature": sign(secret, body, t),
        "X-TTS-Event": event,
        "X-TTS-Delivery-ID": delivery_id,
    }


def iso(t: float) -> str:
    """Return unix seconds as ISO 8601 in UTC with milliseconds: `2026-01-02T03:04:05.678Z`."""
    at = datetime.fromtimestamp(t, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def completed_body(
    job_id: str,
    *,
    created_at: float,
    audio_endpoint: str | None,
    audio_url: str,
    audio_url_expires_at: float,
    chars_charged: int,
    metadata: object = None,
) -> bytes:
    """Return the body of `job.completed`. Provider's documentation, "webhook payload".

    Times are unix seconds. `audio_endpoint=None` returns the older body without that field. `metadata` is that of the
    submit; None leaves it out.
    """
    data: dict[str, Any] = {
        "job_id": job_id,
        "status": "completed",
        "audio_url": audio_url,
        "audio_url_expires_at": iso(audio_url_expires_at),
        "audio_endpoint": audio_endpoint,
        "chars_charged": chars_charged,
        "metadata": metadata,
    }
    return _body(COMPLETED, created_at, data)


def failed_body(
    job_id: str,
    *,
    created_at: float,
    error: Mapping[str, str] | str,
    metadata: object = None,
) -> bytes:
    """Return the body of `job.failed`. Provider's documentation: `data.error` has `code` and `message`."""
    data = {"job_id": job_id, "status": "failed", "error": error, "metadata": metadata}
    return _body(FAILED, created_at, data)


def flat_body(event: str, *, job_id: str, audio_endpoint: str | None) -> bytes:
    """Return the body without `data` that is also in public use."""
    fields = {"event": event, "job_id": job_id, "audio_endpoint": audio_endpoint}
    return _dump({key: value for key, value in fields.items() if value is not None})


def test_body(*, created_at: float) -> bytes:
    """Return the body of the test event. It is not documented: only `event` and `created_at` here."""
    return _dump({"event": TEST, "created_at": iso(created_at)})


test_body.__test__ = False  # type: ignore[attr-defined]  # pytest must not collect it


def _body(event: str, created_at: float, data: Mapping[str, Any]) -> bytes:
    kept = {key: value for key, value in data.items() if value is not None}
    return _dump({"event": event, "created_at": iso(created_at), "data": kept})


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
