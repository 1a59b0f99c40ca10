"""Follows redirects one at a time, so that the API key goes to the provider and nowhere else.

Also interprets the last response, depending on who sent it.

Wire facts: the AI TTS Microservice's errors `{"success": false, "error": {"code", "message"}}`, its 429 with
`Retry-After`, its 503 MAINTENANCE ("retry after 300 s") and its key scope `tts:status` are in its founding documents.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

import structlog

from receiver.errors import (
    AudioDelayed,
    AudioError,
    AudioGone,
    AudioRefused,
    Interrupted,
    InvalidJson,
    OutboundError,
    UnusableAddress,
)
from receiver.outbound.addresses import redacted_url, redirect_target
from receiver.outbound.client import Client, HttpResponse
from receiver.providers.base import AudioRequest, origin_of, read_json_object, usable_word

logger = structlog.get_logger(__name__)

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)

_SHORT_BODY = 64 << 10


@dataclass(frozen=True, slots=True)
class FinalResponse:
    """The last response, who sent it, and whether that is still the request's own origin."""

    reply: HttpResponse
    origin: ResponseOrigin
    same_origin: bool


@asynccontextmanager
async def follow(client: Client, request: AudioRequest, headers: Mapping[str, str]) -> AsyncIterator[FinalResponse]:
    """Request audio and follow up to `MAX_REDIRECTS` redirects.

    The request's own headers, the credentials, are sent as long as every redirect so far stayed on the request's own
    origin; after one that left it they are not sent again, even if another leads back. `headers` are always sent.

    Raises:
        BlockedAddress: a redirect leads to an address that may not be connected to.
        UnusableAddress: a redirect leads to an unusable address.
        OutboundError: too many redirects, or a loop (`too_many_redirects`); a name without address (`dns_failed`).
        Interrupted: a connection could not be made, or broke.
    """
    own, url, same_origin = origin_of(request.url), request.url, True
    if own is None:
        raise UnusableAddress(f"{redacted_url(url)} is not a usable address.", reason="bad_address")
    seen: set[str] = set()
    while True:
        same_origin = same_origin and origin_of(url) == own
        async with client.send("GET", url, {**headers, **(request.headers if same_origin else {})}) as reply:
            if reply.status not in REDIRECTS:
                yield FinalResponse(reply, _response_origin(request, same_origin=same_origin), same_origin)
                return
            target = redirect_target(url, reply.values("location"))
            await _drain(reply)
        seen.add(url)
        if target in seen or len(seen) > MAX_REDIRECTS:
            raise OutboundError(
                f"{redacted_url(request.url)} redirects in a loop or more than {MAX_REDIRECTS} times, "
                f"last to {redacted_url(target)}.",
                reason="too_many_redirects",
            )
        url = target


def _response_origin(request: AudioRequest, *, same_origin: bool) -> ResponseOrigin:
    if not request.durable:
        return ResponseOrigin.TEMPORARY_WITH_KEY if same_origin and request.headers else ResponseOrigin.TEMPORARY
    return ResponseOrigin.PROVIDER if same_origin else ResponseOrigin.STORAGE


async def _drain(reply: HttpResponse) -> None:
    """Read a redirect's short body to its end, so that the connection can be reused."""
    length = reply.content_length()
    if length is None or length > _SHORT_BODY:
        return
    try:
        await reply.read(_SHORT_BODY)
    except Interrupted as error:
        logger.debug("audio.redirect_body_not_read", where=redacted_url(reply.url), error=str(error))


GONE = (404, 410)
EXPIRED = (400, 401, 403, 404, 410)
"""How storages respond to a signed URL that has expired."""

PROVIDER_LIMIT_SECONDS = 60.0
PROVIDER_MAINTENANCE_SECONDS = 300.0
STORAGE_BUSY_SECONDS = 30.0
"""How long to wait after a 429 or 503 without `Retry-After`."""


class ResponseOrigin(Enum):
    """Who responds: the provider's durable endpoint, the storage that it redirects to, or a temporary address.

    A temporary address at the provider's own origin may have received the API key.
    """

    PROVIDER = "the provider"
    STORAGE = "the provider's storage"
    TEMPORARY = "the temporary address"
    TEMPORARY_WITH_KEY = "the temporary address, which received the API key"


KEYED = (ResponseOrigin.PROVIDER, ResponseOrigin.TEMPORARY_WITH_KEY)
"""Responders that are the provider itself and received the API key."""


class KeyRequired(AudioError):
    """A temporary address at the provider's own origin requires the API key; the request can be repeated with it."""


class Expired(AudioError):
    """The storage refused the signed URL from the durable endpoint; the endpoint can return another."""

    reason = "signed_url_expired"


def error_code(body: bytes) -> str | None:
    """The `error.code` of a provider's error body; None if there is none, or it cannot be logged."""
    try:
        error = read_json_object(body).get("error")
    except InvalidJson:
        return None
    word = usable_word(error.get("code")) if isinstance(error, dict) else None
    return word[:64] if word is not None and word.isascii() else None


def requires_key(status: int, url: str) -> bool:
    """Whether a response to a request without credentials means that they are required.

    Gateways respond 403 without a key. So do storages to an expired signed URL, but that has a query.
    """
    return status == 401 or (status == 403 and "?" not in url)


def error_for_status(
    status: int, origin: ResponseOrigin, url: str, *, retry_after: float | None, code: str | None = None
) -> AudioError:
    """The error for a response that is neither audio nor a redirect.

    Args:
        status: the HTTP status.
        origin: who responded.
        url: of the response; logged without its query.
        retry_after: the wait in seconds that the response asks for.
        code: the provider's error code.
    """
    prefix = f"{redacted_url(url)} answers {status}" + (f" {code}" if code else "")
    if status in (429, 503):
        return AudioDelayed(f"{prefix}; it is retried later.", after=_default_wait(status, origin, retry_after))
    if origin in (ResponseOrigin.TEMPORARY, ResponseOrigin.TEMPORARY_WITH_KEY) and status in EXPIRED:
        return _expired_error(status, origin, prefix)
    if origin is ResponseOrigin.STORAGE and status in GONE:
        return _gone_error(f"{prefix}: the provider's storage no longer has the audio, or never had it.", status)
    if origin is ResponseOrigin.STORAGE and status in EXPIRED:
        return Expired(f"{prefix}: the signed address has expired.")
    if origin is ResponseOrigin.PROVIDER:
        if status in GONE:
            return _gone_error(f"{prefix}: the provider no longer has the audio, or never had it.", status)
        if status == 401:
            return AudioRefused(f"{prefix}: the API key is missing, wrong or revoked. Set the source's api_key.")
        if status == 402:
            return AudioRefused(f"{prefix}: the account has no credits left. Top it up, then replay the event.")
        if status == 403:
            return AudioRefused(f"{prefix}: the API key may not fetch audio. It needs the scope tts:status.")
    if status >= 500:
        return AudioError(f"{prefix}: an error of {origin.value}; it is retried.", reason="server_error")
    return AudioError(f"{prefix}, which is neither audio nor a known error.", reason="unexpected_status")


def _gone_error(message: str, status: int) -> AudioGone:
    error = AudioGone(message)
    error.not_found = status == 404
    return error


def _expired_error(status: int, origin: ResponseOrigin, prefix: str) -> AudioError:
    """The error for a status of a temporary address that has expired, or requires a valid key."""
    error: AudioError
    if origin is ResponseOrigin.TEMPORARY_WITH_KEY and status in (401, 403):
        error = AudioRefused(f"{prefix} with and without the API key: the key may not fetch this audio.")
    else:
        error = _gone_error(f"{prefix}: the temporary address of the audio has expired, or does not exist.", status)
    error.expired = True
    return error


def _default_wait(status: int, origin: ResponseOrigin, retry_after: float | None) -> float:
    if retry_after is not None:
        return retry_after
    if origin not in KEYED:
        return STORAGE_BUSY_SECONDS
    return PROVIDER_LIMIT_SECONDS if status == 429 else PROVIDER_MAINTENANCE_SECONDS
