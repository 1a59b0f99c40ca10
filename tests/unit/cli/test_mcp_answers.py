"""The MCP tools behind a proxy: what an assistant gets when it is unknown, or known, that a job was submitted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Thread
from typing import Any

import pytest

from receiver.cli.mcp.models import JobResult, SpeechInput
from receiver.cli.mcp.receiver_api import ReceiverApi, ToolError
from receiver.cli.mcp.tools import Caller, Tools
from receiver.clock import SystemClock

JOB = {
    "id": "job_" + "0" * 32,
    "source": "voices",
    "state": "watching",
    "progress": None,
    "created_at": "2026-11-27T10:00:00Z",
    "ended_at": None,
    "event_id": None,
    "job_id": "theirs",
    "error_code": None,
    "error": None,
}
PROBLEM = {"detail": "The key is refused.", "reason": "provider_unauthorized", "job": JOB}


@contextmanager
def answering(answers: Mapping[str, tuple[int, Any]]) -> Iterator[str]:
    """A server that gives each method one answer; its address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, document = answers[self.command]
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def speak(address: str, wait_seconds: float = 0.0, key: str | None = "mine") -> JobResult:
    """What `generate_speech` returns."""

    async def report(done: float, total: float, what: str) -> None:
        """Nothing."""

    async def call() -> JobResult:
        api = ReceiverApi(address, "")
        given = SpeechInput(text="Hello.", voice="a", source="voices", wait_seconds=wait_seconds, idempotency_key=key)
        try:
            answer = await Tools(api, SystemClock(), Random(1)).generate_speech(Caller(None, report), given)
        finally:
            await api.aclose()
        assert isinstance(answer.result, JobResult)
        return answer.result

    return asyncio.run(call())


@pytest.mark.parametrize(
    "answer", [(502, b"bad gateway"), (504, b""), (503, b"busy"), (202, b"<html>"), (500, {**PROBLEM, "job": None})]
)
def test_a_response_that_does_not_tell_what_became_of_a_submit_names_the_key_to_repeat_it(
    answer: tuple[int, Any],
) -> None:
    with answering({"POST": answer}) as address, pytest.raises(ToolError, match='idempotency_key "mine"'):
        speak(address)


@pytest.mark.parametrize("answer", [(404, b"no such page"), (422, {**PROBLEM, "job": None}), (502, PROBLEM)])
def test_a_refusal_does_not_invite_to_repeat_the_call(answer: tuple[int, Any]) -> None:
    with answering({"POST": answer}) as address, pytest.raises(ToolError) as refused:
        speak(address)
    assert "idempotency_key" not in str(refused.value)


@pytest.mark.parametrize("answer", [(502, b"bad gateway"), (401, b""), (404, {**PROBLEM, "job": None})])
def test_a_submitted_job_is_returned_although_its_state_cannot_be_read_later(answer: tuple[int, Any]) -> None:
    with answering({"POST": (202, {**JOB, "state": "watching"}), "GET": answer}) as address:
        found = speak(address, wait_seconds=0.5)
    assert found.id == JOB["id"]
    assert found.next_step.startswith("It is watching. Call job_status")
