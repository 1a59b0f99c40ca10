"""What the error codes of AI TTS Microservice mean, and what to do about each.

Wire facts: the service's founding documents. Apart from the provider module because these are sentences for people.
"""

from __future__ import annotations

from receiver.providers.answers import Meaning
from receiver.providers.wire import (
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
"""How long to wait for the end of a maintenance that gives no time."""

CODES = {
    "UNAUTHORIZED": Meaning(Unauthorized),
    "VALIDATION_ERROR": Meaning(
        Invalid,
        advice="a field of the request is not as it must be. Change what it names; unchanged it is refused again.",
    ),
    "INVALID_VOICE": Meaning(
        Invalid, advice="there is no such voice, or not for this account. `tts-receiver voices` lists them."
    ),
    "INSUFFICIENT_CREDITS": Meaning(
        OutOfCredits, advice="the account has too few credits for this text. Top it up, then submit again."
    ),
    "RATE_LIMIT_EXCEEDED": Meaning(
        RateLimited,
        advice="the account's requests of this 15-minute window are used up. Wait as told, or take a plan with more.",
    ),
    "REQUEST_IN_PROGRESS": Meaning(
        InProgress,
        advice="the first request with this idempotency key is still running. Wait, then ask again with the same key.",
    ),
    "IDEMPOTENCY_KEY_REUSE": Meaning(
        KeyReused, advice="this idempotency key has been used for another request. Submit this one under a new key."
    ),
    "GENERATION_FAILED": Meaning(
        Unavailable,
        advice="it could not make the audio. Try later; if it stays so, try another voice, or a shorter text.",
    ),
    "MAINTENANCE": Meaning(
        Unavailable,
        wait=MAINTENANCE_SECONDS,
        advice="it is in maintenance. There is nothing to do but wait; then try again.",
    ),
}

SUBMIT_CODES = CODES | {"GENERATION_FAILED": CODES["GENERATION_FAILED"]._replace(error=GenerationFailed)}
"""The codes of an answer to a submit, where `GENERATION_FAILED` is about the submit itself."""
