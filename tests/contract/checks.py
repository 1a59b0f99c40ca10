"""What the contract asks of a provider's answers, and what of every value that comes out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, get_args

from hypothesis import HealthCheck, settings

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
from tests.contract.strategies import (
    KEY,
)

JOB = "job_1"
anywhere = settings(suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
"""A contract is inherited: its properties are run by many classes."""


def account(provider: Provider, version: str | None = None, base: str | None = None, key: str | None = KEY) -> Account:
    return Account(base or provider.base_url, key, version)


def versions(provider: Provider) -> list[str | None]:
    return [None, *provider.capabilities.versions]


def outcome(provider: Provider, response: Response, version: str | None = None) -> Status | ProviderError:
    """What a provider makes of an answer: a status or an error, and never anything else."""
    try:
        status = provider.read_status(account(provider, version), JOB, response)
    except ProviderError as error:
        check_error(error)
        return error
    assert isinstance(status, get_args(Status))
    if isinstance(status, Ended):
        check_end(status.parsed)
    else:
        assert usable_word(status.word) == status.word
        assert status.progress is None or (type(status.progress) is int and 0 <= status.progress <= 100)
    return status


def submitted(provider: Provider, response: Response, version: str | None = None) -> Submitted | ProviderError:
    """What a provider makes of an answer to a submit."""
    try:
        got = provider.read_submit(account(provider, version), response)
    except ProviderError as error:
        check_error(error)
        return error
    assert usable_word(got.job_id) == got.job_id
    if isinstance(got.status, Ended):
        check_end(got.status.parsed, got.job_id)
    return got


def check_error(error: ProviderError) -> None:
    assert type(error) is not ProviderError
    assert re.fullmatch(r"[a-z_]+", error.reason)
    assert 0 < len(str(error)) < 1000
    assert str(error).isprintable()
    assert KEY not in f"{error} {error!r} {error.code} {error.args!r}"
    assert error.code == "" or usable_word(error.code) == error.code
    assert error.retry_after is None or 0 <= error.retry_after <= 86_400


def check_end(parsed: Parsed, job_id: str = JOB) -> None:
    assert parsed.type in (COMPLETED, FAILED)
    assert parsed.job_id == job_id
    json.dumps(parsed.payload, allow_nan=False)
    if parsed.type == FAILED:
        error = parsed.payload["error"]
        assert set(error) == {"code", "message"}
        assert all(isinstance(text, str) for text in error.values())


def check_audio(requests: list[AudioRequest], base: str, key: str) -> None:
    for request in requests:
        assert origin_of(request.url) is not None
        assert key not in request.url
        if request.headers:
            assert origin_of(request.url) == origin_of(base)
        assert request.durable or not request.headers


def check_meaning(got: Status | ProviderError, means: Mapping[str, Any]) -> None:
    if isinstance(got, Running):
        assert means == {"running": got.word} | ({"progress": got.progress} if got.progress else {})
    elif isinstance(got, Ended):
        assert means == {"completed" if got.parsed.type == COMPLETED else "failed": got.parsed.payload}
    else:
        assert type(got) is getattr(wire, means["error"])
        assert means.get("says", "") in str(got)
        assert (got.code, got.retry_after) == (means.get("code", ""), means.get("retry_after"))


def submit(provider: Provider, speech: Speech, version: str | None, base: str | None = None) -> Request | None:
    """The request for a speech; None if it is refused in words."""
    try:
        return provider.submit_request(account(provider, version, base), speech, "same-key")
    except Invalid as error:
        check_error(error)
        return None


def with_status(body: Any, change: Any) -> Any:
    """The body with its `status` changed, also below `data`."""
    if not isinstance(body, dict):
        return body
    changed = {name: change(value) if name == "status" else value for name, value in body.items()}
    return changed | ({"data": with_status(body["data"], change)} if "data" in body else {})


def same(one: Status | ProviderError, other: Status | ProviderError) -> bool:
    """Whether two outcomes are alike but for the spelling of a status word."""
    if isinstance(one, Running) and isinstance(other, Running):
        return (one.word.lower(), one.progress) == (other.word.lower(), other.progress)
    if isinstance(one, ProviderError) and isinstance(other, ProviderError):
        return (type(one), str(one), one.code) == (type(other), str(other), other.code)
    return one == other
