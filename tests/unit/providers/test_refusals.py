"""After which answers to a submit it is certain that no job was made, and what each error code says to do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.providers import PROVIDERS
from receiver.providers.aitts_errors import SUBMIT_CODES
from receiver.providers.types import (
    Account,
    GenerationFailed,
    InProgress,
    Invalid,
    KeyReused,
    ModuleFailed,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    Response,
    Unauthorized,
    Unavailable,
    UnknownJob,
    is_definite_refusal,
)

ACCOUNT = Account("https://api.example", "tts_key_123")
FOR_SURE = {Invalid, Unauthorized, OutOfCredits, RateLimited, KeyReused, Refused}


def answered(provider: str, status: int, body: Any) -> ProviderError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ProviderError) as caught:
        PROVIDERS[provider].read_submit(ACCOUNT, Response(status, [], content))
    return caught.value


def code(word: str) -> dict[str, Any]:
    return {"success": False, "error": {"code": word, "message": ""}}


@pytest.mark.parametrize("kind", ProviderError.__subclasses__())
def test_only_a_service_that_said_no_has_made_no_job_for_sure(kind: type[ProviderError]) -> None:
    assert is_definite_refusal(kind("x")) == (kind in FOR_SURE)


def test_the_kinds_are_all_told_apart() -> None:
    assert set(ProviderError.__subclasses__()) == FOR_SURE | {Unavailable, UnknownJob, InProgress, ModuleFailed}
    assert not is_definite_refusal(ProviderError("of another kind"))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, code("VALIDATION_ERROR")), (400, code("INVALID_VOICE")), (401, code("UNAUTHORIZED")), (401, b"<html>"),
        (402, code("INSUFFICIENT_CREDITS")), (429, code("RATE_LIMIT_EXCEEDED")), (409, code("IDEMPOTENCY_KEY_REUSE")),
        (404, b"Not Found"), (413, b""), (422, {"detail": "text"}), (200, code("INVALID_VOICE")),
        (200, code("NEVER_HEARD_OF")), (202, {"success": False}), (202, {"success": False, "message": "No."}),
        (200, {"error": "No."}), (409, code("NEVER_HEARD_OF")), (408, {"success": False}), (418, b""), (431, b"<html>"),
    ],
)  # fmt: skip
def test_what_the_service_read_and_refused_was_not_begun(status: int, body: Any) -> None:
    assert is_definite_refusal(answered("aitts", status, body))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, code("GENERATION_FAILED")), (500, code("INVALID_VOICE")), (502, b"<html>"), (503, code("MAINTENANCE")),
        (504, b""), (408, b""), (409, code("REQUEST_IN_PROGRESS")), (409, b"{}"), (302, b""), (200, b""), (202, b"{"),
        (202, {"success": True}), (202, {"success": True, "data": {"job_id": None}}),
        (202, {"success": True, "error": "No."}), (202, {"message": "queued"}), (202, {"detail": "queued"}),
        (425, b""), (408, {"message": "Too slow."}), (500, {"success": False}), (302, {"success": False}),
    ],
)  # fmt: skip
def test_after_any_other_answer_the_job_may_be_there(status: int, body: Any) -> None:
    assert not is_definite_refusal(answered("aitts", status, body))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 202])
@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_garbage_never_says_that_there_is_no_job(provider: str, status: int) -> None:
    assert not is_definite_refusal(answered(provider, status, b"<html>garbage</html>"))


def test_a_body_that_refuses_under_a_success_refuses() -> None:
    assert is_definite_refusal(answered("finevoice", 200, {"status": 422, "error": {"code": "X", "message": "text"}}))
    assert not is_definite_refusal(answered("finevoice", 200, {"status": 500, "error": {"code": "X", "message": "y"}}))


@pytest.mark.parametrize("word", sorted(SUBMIT_CODES))
def test_every_documented_code_is_a_typed_error_with_its_own_advice(word: str) -> None:
    status = {"UNAUTHORIZED": 401, "INSUFFICIENT_CREDITS": 402, "RATE_LIMIT_EXCEEDED": 429, "GENERATION_FAILED": 500,
              "MAINTENANCE": 503, "VALIDATION_ERROR": 400, "INVALID_VOICE": 400}.get(word, 409)  # fmt: skip
    error = answered("aitts", status, code(word))
    assert type(error) is SUBMIT_CODES[word].error
    assert error.code == word
    others = {str(answered("aitts", status, code(other))) for other in SUBMIT_CODES if other != word}
    assert str(error) not in others


@pytest.mark.parametrize("status", [200, 201, 400, 402, 403, 404, 409, 418, 422])
@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_an_answer_that_says_that_it_is_no_success_made_no_job(provider: str, status: int) -> None:
    error = answered(provider, status, {"success": False, "message": "Insufficient credits"})
    assert is_definite_refusal(error)
    assert "Insufficient credits" in str(error)


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_under_a_status_of_a_fault_it_may_have_made_one(provider: str) -> None:
    assert not is_definite_refusal(answered(provider, 500, {"success": False, "message": "Insufficient credits"}))


def test_a_submit_that_broke_is_told_from_a_question_that_broke() -> None:
    body = json.dumps(code("GENERATION_FAILED")).encode()
    with pytest.raises(Unavailable) as raised:
        PROVIDERS["aitts"].read_status(ACCOUNT, "job-1", Response(500, [], body))
    assert type(raised.value) is Unavailable
    assert type(answered("aitts", 500, code("GENERATION_FAILED"))) is GenerationFailed


def test_maintenance_that_names_no_time_is_waited_for() -> None:
    assert answered("aitts", 503, code("MAINTENANCE")).retry_after == 300.0
