"""Why a provider did not do what it was asked: one type for each thing to do about it.

Apart from the plain values of the wire because the engine and the CLI decide by these types. Import them from
`receiver.providers.wire`, like everything else that a provider module deals in.
"""

from __future__ import annotations

from receiver.errors import ReceiverError


class ProviderError(ReceiverError):
    """A provider did not do what it was asked; the message says what to do about it.

    Args:
        retry_after: seconds it told us to wait; None if it said nothing.
        code: its own error code; empty if it gave none.
    """

    reason = "provider_error"

    def __init__(
        self, message: str, *, reason: str | None = None, retry_after: float | None = None, code: str = ""
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after
        self.code = code


class Unauthorized(ProviderError):
    """The API key is missing, wrong, or may not do this (401, 403)."""

    reason = "provider_unauthorized"


class Invalid(ProviderError):
    """The request itself is wrong (400, 422): the same one will never work."""

    reason = "provider_invalid"


class OutOfCredits(ProviderError):
    """The account cannot pay (402)."""

    reason = "provider_credits"


class Refused(ProviderError):
    """The service read the request and refused it: `success: false`, or a 4xx without a type of its own."""

    reason = "provider_refused"


class UnknownJob(ProviderError):
    """The provider does not know the job, or no longer does (404)."""

    reason = "provider_unknown_job"


class RateLimited(ProviderError):
    """Too many requests (429): wait as told."""

    reason = "provider_rate_limited"


class Unavailable(ProviderError):
    """The provider is in maintenance, broken, or answers what cannot be read (5xx, garbage): try later."""

    reason = "provider_unavailable"


class GenerationFailed(Unavailable):
    """The generation failed: the submit is repeated once, under the same idempotency key."""

    reason = "provider_generation_failed"


class InProgress(ProviderError):
    """A submit with this idempotency key is on its way (409): wait for it."""

    reason = "provider_in_progress"


class KeyReused(ProviderError):
    """The idempotency key was used for another request (409)."""

    reason = "provider_key_reused"


_SAID_NO = (Invalid, Unauthorized, OutOfCredits, RateLimited, KeyReused, Refused)


def refused_for_sure(error: ProviderError) -> bool:
    """Whether a submit that ended with this error certainly made no job: the service read it and said no.

    It says so of that one request. An earlier one under the same idempotency key, whose answer was lost, may have made
    a job all the same.

    Returns:
        False for `Unavailable` and whatever else leaves it open (5xx, garbage, half an answer): the job may be there,
        and paid for. False for `InProgress`, too: there the job is on its way.
    """
    return isinstance(error, _SAID_NO)
