"""Errors of providers: one type for each way to react.

The engine and the command line decide by these types. `receiver.providers.types` exports them, too.
"""

from __future__ import annotations

from receiver.errors import ReceiverError


class ProviderError(ReceiverError):
    """A provider did not fulfil a request; the message says what to do about it.

    Args:
        retry_after: seconds to wait, by the response; None if it does not say.
        code: the provider's own error code; empty if it gave none.
    """

    reason = "provider_error"

    def __init__(
        self, message: str, *, reason: str | None = None, retry_after: float | None = None, code: str = ""
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after
        self.code = code


class Unauthorized(ProviderError):
    """The API key is missing, wrong, or lacks the permission (401, 403)."""

    reason = "provider_unauthorized"


class Invalid(ProviderError):
    """The request itself is invalid (400, 422): repeating it is useless."""

    reason = "provider_invalid"


class OutOfCredits(ProviderError):
    """The account cannot pay (402)."""

    reason = "provider_credits"


class Refused(ProviderError):
    """The service refused the request: `success: false`, or a 4xx without a type of its own."""

    reason = "provider_refused"


class UnknownJob(ProviderError):
    """The provider does not know the job, or no longer knows it (404)."""

    reason = "provider_unknown_job"


class RateLimited(ProviderError):
    """Too many requests (429): wait for `retry_after`."""

    reason = "provider_rate_limited"


class Unavailable(ProviderError):
    """The provider is in maintenance or broken, or its response is unreadable (5xx, garbage): try later."""

    reason = "provider_unavailable"


class GenerationFailed(Unavailable):
    """The generation failed: the submit is repeated once, under the same idempotency key."""

    reason = "provider_generation_failed"


class InProgress(ProviderError):
    """A submit with this idempotency key is still being processed (409): wait for it."""

    reason = "provider_in_progress"


class KeyReused(ProviderError):
    """The idempotency key was used for another request (409)."""

    reason = "provider_key_reused"


class ModuleFailed(ProviderError):
    """The provider module has a bug: it raised something that is not a `ProviderError`."""

    reason = "provider_module_failed"


_DEFINITE_REFUSALS = (Invalid, Unauthorized, OutOfCredits, RateLimited, KeyReused, Refused)


def is_definite_refusal(error: ProviderError) -> bool:
    """Return whether a submit that failed with this error certainly created no job.

    This is about that one request. An earlier one with the same idempotency key, whose response was lost, may have
    created a job.

    Returns:
        False for `Unavailable` and every other error after which the job may exist and be charged for (5xx, garbage, a
        truncated response), and for `InProgress`: the service is creating the job.
    """
    return isinstance(error, _DEFINITE_REFUSALS)
