"""What the error codes of AI TTS Microservice mean, and what to do about each.

Wire facts: the service's founding documents.
"""

from __future__ import annotations

from receiver.providers.responses import ErrorMapping
from receiver.providers.types import (
    GenerationFailed,
    InProgress,
    Invalid,
    KeyReused,
    OutOfCredits,
    RateLimited,
    Unauthorized,
    Unavailable,
)

MAINTENANCE_SECONDS = 300.0
"""How long to wait during maintenance if the response has no `Retry-After`, seconds."""

CODES = {
    "UNAUTHORIZED": ErrorMapping(Unauthorized),
    "VALIDATION_ERROR": ErrorMapping(
        Invalid,
        advice="a field of the request is invalid. Correct the field that it names before you try again.",
    ),
    "INVALID_VOICE": ErrorMapping(
        Invalid,
        advice="the voice does not exist, or this account may not use it. `tts-receiver voices` lists the voices.",
    ),
    "INSUFFICIENT_CREDITS": ErrorMapping(
        OutOfCredits, advice="the account has too few credits for this text. Top it up, then submit again."
    ),
    "RATE_LIMIT_EXCEEDED": ErrorMapping(
        RateLimited,
        advice="the account's requests of this 15-minute window are used up. Wait as it says, or upgrade the plan.",
    ),
    "REQUEST_IN_PROGRESS": ErrorMapping(
        InProgress,
        advice="the first request with this idempotency key is still running. Wait, then repeat it with the same key.",
    ),
    "IDEMPOTENCY_KEY_REUSE": ErrorMapping(
        KeyReused, advice="this idempotency key has been used for another request. Submit this one with a new key."
    ),
    "GENERATION_FAILED": ErrorMapping(
        Unavailable,
        advice="it could not generate the audio. Try later; if it fails again, try another voice or a shorter text.",
    ),
    "MAINTENANCE": ErrorMapping(
        Unavailable,
        wait=MAINTENANCE_SECONDS,
        advice="it is in maintenance. Wait, then try again.",
    ),
}

SUBMIT_CODES = CODES | {"GENERATION_FAILED": CODES["GENERATION_FAILED"]._replace(error=GenerationFailed)}
"""The codes in a response to a submit, where `GENERATION_FAILED` is about the submit itself."""
