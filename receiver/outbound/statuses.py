"""What an HTTP status means for a fetch, by who said it. Pure.

Wire facts: the AI TTS Microservice's errors `{"success": false, "error": {"code", "message"}}`, its 429 with
`Retry-After`, its 503 MAINTENANCE ("retry after 300 s") and its key scope `tts:status` are in its founding documents.
"""

from __future__ import annotations

from enum import Enum

from receiver.errors import AudioDelayed, AudioError, AudioGone, AudioRefused, InvalidJson
from receiver.outbound.addresses import where
from receiver.providers.base import read_json_object, usable_word

GONE = (404, 410)
EXPIRED = (400, 401, 403, 404, 410)
"""How storages answer to a signed address that is no longer good."""

PROVIDER_LIMIT_SECONDS = 60.0
PROVIDER_MAINTENANCE_SECONDS = 300.0
STORAGE_BUSY_SECONDS = 30.0
"""How long to wait where a 429 or 503 does not say."""


class Place(Enum):
    """Who answers: the provider's durable endpoint, the storage it sent us to, or a temporary address.

    A temporary address at the provider's own origin may have been shown the API key.
    """

    PROVIDER = "the provider"
    STORAGE = "the provider's storage"
    TEMPORARY = "the temporary address"
    TEMPORARY_WITH_KEY = "the temporary address, which was shown the API key"


KEYED = (Place.PROVIDER, Place.TEMPORARY_WITH_KEY)
"""Responders that are the provider itself and received the API key."""


class KeyRequired(AudioError):
    """A temporary address at the provider's own origin requires the API key; the request can be repeated with it."""


class Expired(AudioError):
    """The storage did not take the signed address that the durable endpoint gave out; that can give out another."""

    reason = "signed_url_expired"


def error_code(body: bytes) -> str | None:
    """The word in `error.code` of a provider's error body; None if there is none that can be shown."""
    try:
        error = read_json_object(body).get("error")
    except InvalidJson:
        return None
    word = usable_word(error.get("code")) if isinstance(error, dict) else None
    return word[:64] if word is not None and word.isascii() else None


def requires_key(status: int, url: str) -> bool:
    """Whether an answer to a request without credentials means that they are required.

    Gateways answer 403 without a key. So do storages whose signed address has expired, but that has a query.
    """
    return status == 401 or (status == 403 and "?" not in url)


def failure(status: int, place: Place, url: str, *, retry_after: float | None, code: str | None = None) -> AudioError:
    """The error for a reply that is neither audio nor a redirect.

    Args:
        status: the HTTP status.
        place: who answered.
        url: at which address; shown without its query.
        retry_after: what the reply told us to wait, in seconds.
        code: the provider's error code.
    """
    said = f"{where(url)} answers {status}" + (f" {code}" if code else "")
    if status in (429, 503):
        return AudioDelayed(f"{said}: we are told to wait.", after=_wait(status, place, retry_after))
    if place in (Place.TEMPORARY, Place.TEMPORARY_WITH_KEY) and status in EXPIRED:
        return _expired(status, place, said)
    if place is Place.STORAGE and status in GONE:
        return _gone(f"{said}: the provider's storage does not have the audio (any more).", status)
    if place is Place.STORAGE and status in EXPIRED:
        return Expired(f"{said}: the signed address is no longer valid.")
    if place is Place.PROVIDER:
        if status in GONE:
            return _gone(f"{said}: the provider does not have the audio (any more).", status)
        if status == 401:
            return AudioRefused(f"{said}: the API key is missing, wrong or revoked. Set the source's api_key.")
        if status == 402:
            return AudioRefused(f"{said}: the account has no credits left. Top it up, then replay the event.")
        if status == 403:
            return AudioRefused(f"{said}: the API key may not fetch audio. It needs the scope tts:status.")
    if status >= 500:
        return AudioError(f"{said}: a fault of {place.value}; it is tried again.", reason="server_error")
    return AudioError(f"{said}, which is neither audio nor a known error.", reason="unexpected_status")


def _gone(message: str, status: int) -> AudioGone:
    error = AudioGone(message)
    error.not_found = status == 404
    return error


def _expired(status: int, place: Place, said: str) -> AudioError:
    """The error for a status of a temporary address that has expired, or requires a valid key."""
    error: AudioError
    if place is Place.TEMPORARY_WITH_KEY and status in (401, 403):
        error = AudioRefused(f"{said} with and without the API key: the key may not fetch this audio.")
    else:
        error = _gone(f"{said}: the temporary address of the audio has expired, or nothing is there.", status)
    error.expired = True
    return error


def _wait(status: int, place: Place, retry_after: float | None) -> float:
    if retry_after is not None:
        return retry_after
    if place not in KEYED:
        return STORAGE_BUSY_SECONDS
    return PROVIDER_LIMIT_SECONDS if status == 429 else PROVIDER_MAINTENANCE_SECONDS
