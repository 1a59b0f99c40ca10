"""Tasks: where their path may lead, what is sent, and what the response to one means."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.providers import PROVIDERS, Account, Invalid, Response, Task
from receiver.providers.api_path import MAX_PATH, check_api_path
from receiver.providers.base import origin_of
from receiver.providers.generic import generic_provider
from receiver.providers.generic_spec import GenericSpec
from receiver.providers.json_path import parse_path
from receiver.providers.protocols import TaskProvider, require_tasks
from receiver.providers.tasks import MAX_BODY_BYTES
from receiver.providers.types import Ended, Running, Unavailable

ACCOUNT = Account("https://apis.example/base", "the-key")
FINEVOICE = require_tasks(PROVIDERS["finevoice"])


def answer(document: Any, status: int = 200) -> Response:
    return Response(status, [], json.dumps(document).encode())


@pytest.mark.parametrize(
    "path",
    [
        "", "v1/x", "//evil.example/x", "https://evil.example/x", "/v1/../x", "/..", "/v1/.", "/v1/%2e%2e/x",
        "/v1/.%2E", "/v1/%252e%252e/x", "/v1/%2e%2e%2fx", "/v1/..%5cx", "/v1/a b", "/v1/a#b", "/v1/a\\b",
        "/v1/\r\nHost: x",
        "/v1/ü", "/v1/\x7f", "/" + "a" * MAX_PATH,
    ],
)  # fmt: skip
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="path of a task"):
        FINEVOICE.task_request(ACCOUNT, Task(path=path, body={}), "key")


@given(st.one_of(st.text(), st.text("/.%2eE5cC\\?#@:a ").map("/".__add__)))
@example("/v1/audio/speech-to-text?language=en&x=../y")
def test_an_accepted_path_stays_at_the_service(path: str) -> None:
    try:
        check_api_path(path)
    except ValueError:
        return
    url = ACCOUNT.base_url + path
    assert origin_of(url) == origin_of(ACCOUNT.base_url)
    parts = urlsplit(url)
    assert parts.path.startswith("/base/")
    assert not {".", ".."} & set(parts.path.split("/"))
    assert not parts.fragment


def test_the_body_is_sent_as_it_is() -> None:
    body = {"url": "https://example.com/a", "null": None, "list": [1, {"ü": 1.5}]}
    request = FINEVOICE.task_request(ACCOUNT, Task(path="/v1/x?y=1", body=body, metadata={"n": 1}), "key")
    assert (request.method, request.url) == ("POST", "https://apis.example/base/v1/x?y=1")
    assert json.loads(request.body or b"") == body
    assert request.headers["Authorization"] == "Bearer the-key"
    assert "key" not in request.headers.values()


def test_a_body_that_is_too_large_or_no_json_is_refused() -> None:
    for body in ({"text": "x" * MAX_BODY_BYTES}, {"text": "\ud800"}, {"number": float("nan")}):
        with pytest.raises(Invalid):
            FINEVOICE.task_request(ACCOUNT, Task(path="/v1/x", body=body), "key")


@pytest.mark.parametrize("provider", [of for of in PROVIDERS.values() if isinstance(of, TaskProvider)])
@pytest.mark.parametrize("path", ["/api/v1/tts", "/v1/other"])
def test_the_key_is_sent_where_a_task_can_be_repeated(provider: TaskProvider, path: str) -> None:
    task = Task(path=path, body={})
    repeatable = provider.is_idempotent_task(task)
    assert ("key" in provider.task_request(ACCOUNT, task, "key").headers.values()) == repeatable
    assert repeatable == (provider.name == "aitts" and path == "/api/v1/tts")


def test_what_a_task_reports_beside_its_files_is_its_result() -> None:
    document = {"status": 200, "taskId": "t", "urls": ["https://x.example/a"], "text": "Hi", "words": [1], "none": None}
    status = FINEVOICE.read_status(ACCOUNT, "t", answer(document))
    assert isinstance(status, Ended)
    assert status.parsed.payload == {
        "status": "completed", "audio_url": "https://x.example/a", "result": {"text": "Hi", "words": [1]},
    }  # fmt: skip


# a source by configuration


def generic(**values: Any) -> TaskProvider:
    paths = {"status": (parse_path("job.state"),), "job_id": (parse_path("job.id"),), "result": (parse_path("out"),)}
    spec = {"completed_words": ("completed",), "status_path": "/v1/jobs/{job_id}"}
    return require_tasks(generic_provider(GenericSpec(**paths | spec | values)))


def test_the_id_of_a_task_is_at_the_configured_path() -> None:
    provider = generic()
    submitted = provider.read_task(ACCOUNT, answer({"job": {"id": 7}}, 202))
    assert (submitted.job_id, submitted.status) == ("7", Running("submitted"))
    fast = provider.read_task(ACCOUNT, answer({"job": {"id": "a", "state": "completed"}, "out": {"text": "Hi"}}))
    assert isinstance(fast.status, Ended)
    assert fast.status.parsed.payload["result"] == {"text": "Hi"}
    with pytest.raises(Unavailable):
        provider.read_task(ACCOUNT, answer({"id": "elsewhere"}))


def test_without_a_path_of_the_id_no_task_is_sent() -> None:
    with pytest.raises(Invalid, match="job_id"):
        generic(job_id=()).task_request(ACCOUNT, Task(path="/v1/x", body={}), "key")


def test_a_configured_header_makes_tasks_repeatable() -> None:
    task = Task(path="/v1/x", body={})
    assert not generic().is_idempotent_task(task)
    provider = generic(idempotency_header="X-Request-Key")
    assert provider.is_idempotent_task(task)
    assert provider.task_request(ACCOUNT, task, "key").headers["X-Request-Key"] == "key"
