"""Helpers of the contract tests: calls of a provider, and the checks of every value that it returns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, get_args

from hypothesis import HealthCheck, settings

from receiver.contract.strategies import API_KEY
from receiver.model.delivery import Parsed
from receiver.model.event import COMPLETED, FAILED
from receiver.providers import types
from receiver.providers.base import AudioRequest, origin_of, usable_word
from receiver.providers.protocols import PollingProvider, Provider, SubmittingProvider, VersionedProvider
from receiver.providers.types import (
    Account,
    Ended,
    Invalid,
    ProviderError,
    Request,
    Response,
    Running,
    Speech,
    Status,
    Submitted,
)

JOB_ID = "job_1"
property_settings = settings(suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
"""Settings for property tests that several classes inherit."""
_Result = TypeVar("_Result")
_Params = ParamSpec("_Params")


def account(provider: Provider, base: str | None = None, key: str | None = API_KEY) -> Account:
    """Return an account at the provider."""
    return Account(base or provider.base_url, key)


def versions(provider: Provider) -> list[Provider]:
    """Return the provider and the providers of its API's versions."""
    return [provider, *(provider.versions.values() if isinstance(provider, VersionedProvider) else ())]


def version_of(provider: Provider, api_version: str | None) -> Provider:
    """Return the provider of one API version, or the provider itself if `api_version` is None."""
    if api_version is None:
        return provider
    assert isinstance(provider, VersionedProvider), f"{provider.name} has no versions"
    return provider.versions[api_version]


def polling_versions(provider: Provider) -> list[PollingProvider]:
    """Return the versions that can be polled."""
    return [version for version in versions(provider) if isinstance(version, PollingProvider)]


def submitting_versions(provider: Provider) -> list[SubmittingProvider]:
    """Return the versions to which jobs can be submitted."""
    return [version for version in versions(provider) if isinstance(version, SubmittingProvider)]


def outcome_of(
    call: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs
) -> _Result | ProviderError:
    """Return the result of a call, or the `ProviderError` that it raises; no other exception is allowed."""
    try:
        return call(*args, **kwargs)
    except ProviderError as error:
        check_error(error)
        return error


def build_or_none(call: Callable[_Params, Request], *args: _Params.args, **kwargs: _Params.kwargs) -> Request | None:
    """Return the request; None if the provider refuses it as `Invalid`."""
    try:
        return call(*args, **kwargs)
    except Invalid as error:
        check_error(error)
        return None


def status_of(provider: Provider, response: Response) -> Status | ProviderError:
    """Return the status or the error that a provider reads from a response about a job."""
    assert isinstance(provider, PollingProvider)
    status = outcome_of(provider.read_status, account(provider), JOB_ID, response)
    if not isinstance(status, ProviderError):
        check_status(status)
    return status


def submit_outcome(provider: Provider, response: Response) -> Submitted | ProviderError:
    """Return what a provider reads from a response to a submit."""
    assert isinstance(provider, SubmittingProvider)
    got = outcome_of(provider.read_submit, account(provider), response)
    if isinstance(got, Submitted):
        assert usable_word(got.job_id) == got.job_id
        check_status(got.status, got.job_id)
    return got


def submit_request(provider: SubmittingProvider, speech: Speech, base: str | None = None) -> Request | None:
    """Return the request for a speech; None if the provider refuses it as `Invalid`."""
    return build_or_none(provider.submit_request, account(provider, base), speech, "same-key")


def plain_speech(provider: Provider) -> Speech:
    """Return a speech without options."""
    return Speech(text="Hello", voice=next(iter(provider.capabilities.known_voices), "v"))


def check_error(error: ProviderError) -> None:
    """Check that an error has a type of its own, a printable message, and no secret in it."""
    assert type(error) is not ProviderError
    assert re.fullmatch(r"[a-z_]+", error.reason)
    assert 0 < len(str(error)) < 1000
    assert str(error).isprintable()
    assert API_KEY not in f"{error} {error!r} {error.code} {error.args!r}"
    assert error.code == "" or usable_word(error.code) == error.code
    assert error.retry_after is None or 0 <= error.retry_after <= 86_400


def check_status(status: Status, job_id: str = JOB_ID) -> None:
    """Check that a status is one of the two kinds, with valid attributes."""
    assert isinstance(status, get_args(Status))
    if isinstance(status, Ended):
        check_ended(status.parsed, job_id)
    else:
        assert usable_word(status.word) == status.word
        assert status.progress is None or (type(status.progress) is int and 0 <= status.progress <= 100)


def check_ended(parsed: Parsed, job_id: str = JOB_ID) -> None:
    """Check that the end of a job has the content of a delivery about it."""
    assert parsed.type in (COMPLETED, FAILED)
    assert parsed.job_id == job_id
    json.dumps(parsed.payload, allow_nan=False)
    if parsed.type == FAILED:
        error = parsed.payload["error"]
        assert set(error) == {"code", "message"}
        assert all(isinstance(text, str) for text in error.values())


def check_audio(files: list[list[AudioRequest]], base: str, key: str) -> None:
    """Check that each file has a request, and that the key is sent to the service's own origin only."""
    assert all(files)
    for request in (request for requests in files for request in requests):
        assert origin_of(request.url) is not None
        assert key not in request.url
        assert key not in repr(request)
        if request.headers or request.headers_if_refused:
            assert origin_of(request.url) == origin_of(base)
        assert not (request.headers and request.headers_if_refused)
        assert request.durable or not request.headers


def check_origin(request: Request, base: str, secret: str = API_KEY) -> None:
    """Check that a request goes to the account's own origin, with the secret in one header and nowhere else."""
    assert origin_of(request.url) == origin_of(base)
    assert request.url.startswith(base.rstrip("/") + "/")
    assert request.url.isascii()
    assert request.url.isprintable()
    assert " " not in request.url
    assert secret not in f"{request.url} {request!r}"
    assert sum(secret in value for value in request.headers.values()) == 1
    assert secret.encode() not in (request.body or b"")


def check_meaning(got: Status | ProviderError, means: Mapping[str, Any]) -> None:
    """Check that a status or an error is the one that the document states."""
    if isinstance(got, Running):
        assert means == {"running": got.word} | ({"progress": got.progress} if got.progress else {})
    elif isinstance(got, Ended):
        assert means == {"completed" if got.parsed.type == COMPLETED else "failed": got.parsed.payload}
    else:
        assert "error" in means, f"{got}"
        assert type(got) is getattr(types, means["error"])
        assert means.get("says", "") in str(got)
        assert (got.code, got.retry_after) == (means.get("code", ""), means.get("retry_after"))


def with_status(body: Any, change: Any, field: str = "status") -> Any:
    """Return the body with its status changed, however deep it is nested."""
    if not isinstance(body, dict):
        return body
    return {name: change(value) if name == field else with_status(value, change, field) for name, value in body.items()}


def equivalent(one: Status | ProviderError, other: Status | ProviderError) -> bool:
    """Return whether two statuses or errors are equal, without regard to the case of a status word."""
    if isinstance(one, Running) and isinstance(other, Running):
        return (one.word.lower(), one.progress) == (other.word.lower(), other.progress)
    if isinstance(one, ProviderError) and isinstance(other, ProviderError):
        return (type(one), str(one), one.code) == (type(other), str(other), other.code)
    return one == other
