"""What the contract asks of a provider's answers, and what of every value that comes out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, get_args

from hypothesis import HealthCheck, settings

from receiver.contract.strategies import KEY
from receiver.model.delivery import Parsed
from receiver.model.event import COMPLETED, FAILED
from receiver.providers import wire
from receiver.providers.base import AudioRequest, Provider, origin_of, usable_word
from receiver.providers.wire import (
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

JOB = "job_1"
anywhere = settings(suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
"""A contract is inherited: its properties are run by many classes."""
_Result = TypeVar("_Result")
_Asked = ParamSpec("_Asked")


def account(provider: Provider, version: str | None = None, base: str | None = None, key: str | None = KEY) -> Account:
    """An account at the provider."""
    return Account(base or provider.base_url, key, version)


def versions(provider: Provider) -> list[str | None]:
    """What an account may name as its version."""
    return [None, *provider.capabilities.versions]


def tried(ask: Callable[_Asked, _Result], *args: _Asked.args, **named: _Asked.kwargs) -> _Result | ProviderError:
    """What comes out: a value, or an error that is one of ours and fit to be shown. Never anything else."""
    try:
        return ask(*args, **named)
    except ProviderError as error:
        check_error(error)
        return error


def asked(ask: Callable[_Asked, Request], *args: _Asked.args, **named: _Asked.kwargs) -> Request | None:
    """The request; None if it is refused in words."""
    try:
        return ask(*args, **named)
    except Invalid as error:
        check_error(error)
        return None


def outcome(provider: Provider, response: Response, version: str | None = None) -> Status | ProviderError:
    """What a provider makes of an answer about a job: a status or an error."""
    status = tried(provider.read_status, account(provider, version), JOB, response)
    if not isinstance(status, ProviderError):
        check_status(status)
    return status


def submitted(provider: Provider, response: Response, version: str | None = None) -> Submitted | ProviderError:
    """What a provider makes of an answer to a submit."""
    got = tried(provider.read_submit, account(provider, version), response)
    if isinstance(got, Submitted):
        assert usable_word(got.job_id) == got.job_id
        check_status(got.status, got.job_id)
    return got


def submit(provider: Provider, speech: Speech, version: str | None, base: str | None = None) -> Request | None:
    """The request for a speech; None if it is refused in words."""
    return asked(provider.submit_request, account(provider, version, base), speech, "same-key")


def plain(provider: Provider) -> Speech:
    """A speech without wishes."""
    return Speech(text="Hello", voice=next(iter(provider.capabilities.known_voices), "v"))


def check_error(error: ProviderError) -> None:
    """An error says what to do, by its type and in words, and gives nothing away."""
    assert type(error) is not ProviderError
    assert re.fullmatch(r"[a-z_]+", error.reason)
    assert 0 < len(str(error)) < 1000
    assert str(error).isprintable()
    assert KEY not in f"{error} {error!r} {error.code} {error.args!r}"
    assert error.code == "" or usable_word(error.code) == error.code
    assert error.retry_after is None or 0 <= error.retry_after <= 86_400


def check_status(status: Status, job_id: str = JOB) -> None:
    """A status is one of the two kinds, and whole."""
    assert isinstance(status, get_args(Status))
    if isinstance(status, Ended):
        check_end(status.parsed, job_id)
    else:
        assert usable_word(status.word) == status.word
        assert status.progress is None or (type(status.progress) is int and 0 <= status.progress <= 100)


def check_end(parsed: Parsed, job_id: str = JOB) -> None:
    """An end is what a delivery for it would have said."""
    assert parsed.type in (COMPLETED, FAILED)
    assert parsed.job_id == job_id
    json.dumps(parsed.payload, allow_nan=False)
    if parsed.type == FAILED:
        error = parsed.payload["error"]
        assert set(error) == {"code", "message"}
        assert all(isinstance(text, str) for text in error.values())


def check_audio(files: list[list[AudioRequest]], base: str, key: str) -> None:
    """No file is without a way to get it, and the key goes home only."""
    assert all(files)
    for request in (request for ways in files for request in ways):
        assert origin_of(request.url) is not None
        assert key not in request.url
        assert key not in repr(request)
        if request.headers or request.headers_if_refused:
            assert origin_of(request.url) == origin_of(base)
        assert not (request.headers and request.headers_if_refused)
        assert request.durable or not request.headers


def check_home(request: Request, base: str, secret: str = KEY) -> None:
    """A request goes to the account's own origin, and the secret is in one header and nowhere else that is seen."""
    assert origin_of(request.url) == origin_of(base)
    assert request.url.startswith(base.rstrip("/") + "/")
    assert request.url.isascii()
    assert request.url.isprintable()
    assert " " not in request.url
    assert secret not in f"{request.url} {request!r}"
    assert sum(secret in value for value in request.headers.values()) == 1
    assert secret.encode() not in (request.body or b"")


def check_meaning(got: Status | ProviderError, means: Mapping[str, Any]) -> None:
    """An outcome is what the document says of it."""
    if isinstance(got, Running):
        assert means == {"running": got.word} | ({"progress": got.progress} if got.progress else {})
    elif isinstance(got, Ended):
        assert means == {"completed" if got.parsed.type == COMPLETED else "failed": got.parsed.payload}
    else:
        assert "error" in means, f"{got}"
        assert type(got) is getattr(wire, means["error"])
        assert means.get("says", "") in str(got)
        assert (got.code, got.retry_after) == (means.get("code", ""), means.get("retry_after"))


def with_status(body: Any, change: Any, field: str = "status") -> Any:
    """The body with its status changed, however deep it is."""
    if not isinstance(body, dict):
        return body
    return {name: change(value) if name == field else with_status(value, change, field) for name, value in body.items()}


def same(one: Status | ProviderError, other: Status | ProviderError) -> bool:
    """Whether two outcomes are alike but for the spelling of a status word."""
    if isinstance(one, Running) and isinstance(other, Running):
        return (one.word.lower(), one.progress) == (other.word.lower(), other.progress)
    if isinstance(one, ProviderError) and isinstance(other, ProviderError):
        return (type(one), str(one), one.code) == (type(other), str(other), other.code)
    return one == other
