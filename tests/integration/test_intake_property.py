"""No bytes in headers or body produce a 5xx or an exception, asked of one whole receiver."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.integration.intake_support import SECRET, UNAUTHORIZED, Running, configured, running, signature

Lines = list[tuple[bytes, bytes]]


class Hosted:
    """A receiver on a loop in its own thread, asked in raw ASGI: nothing of a client stands between."""

    def __init__(self, portal: BlockingPortal, up: Running) -> None:
        self.portal, self.up = portal, up

    def ask(
        self, headers: Lines, pieces: list[bytes], path: str = "/webhooks/aitts", method: str = "POST"
    ) -> tuple[int, bytes]:
        return self.portal.call(self._ask, headers, pieces, path, method)

    async def _ask(self, headers: Lines, pieces: list[bytes], path: str, method: str) -> tuple[int, bytes]:
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages.append({"type": "http.request", "body": b"", "more_body": False})
        waiting, sent = iter(messages), list[dict[str, Any]]()

        async def receive() -> dict[str, Any]:
            return next(waiting)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(errors="replace"), "root_path": "", "query_string": b"",
            "headers": headers, "client": ("192.0.2.1", 1), "server": ("receiver.test", 80),
        }  # fmt: skip
        await self.up.receiver.public(scope, receive, send)
        assert [message["type"] for message in sent[:2]] == ["http.response.start", "http.response.body"]
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    folder = tmp_path_factory.mktemp("intake")
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(running(configured(folder, handlers={}))) as up,
    ):
        yield Hosted(portal, up)


many = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_NAMES = st.sampled_from(
    [b"x-tts-signature", b"x-tts-event", b"x-tts-delivery-id", b"content-type", b"content-length", b"user-agent",
     b"host", b"transfer-encoding", b"\xff"]
)  # fmt: skip
_PIECES = st.sampled_from([b"t=", b"v1=", b",", str(int(time.time())).encode(), b"0" * 64, b"\x00", b"\xff", b"test"])
_VALUES = st.one_of(st.binary(max_size=80), st.lists(_PIECES, max_size=8).map(b"".join))
_HEADERS = st.lists(st.tuples(_NAMES | st.binary(min_size=1, max_size=10), _VALUES), max_size=6)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = ["job_id", "status", "audio_endpoint", "audio_url", "error", "metadata", "chars_charged", "created_at"]
_DATA = st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=6)
_WORDS = st.sampled_from(["job.completed", "job.failed", "test", "other"]) | _JSON


@many
@given(headers=_HEADERS, pieces=st.lists(st.binary(max_size=200), max_size=3))
def test_unsigned_bytes_of_any_kind_are_refused_and_leave_nothing(
    hosted: Hosted, headers: Lines, pieces: list[bytes]
) -> None:
    before = len(hosted.up.rows())
    status, body = hosted.ask(headers, pieces)
    assert status in (401, 413)
    if status == 401:
        assert body == UNAUTHORIZED
    assert len(hosted.up.rows()) == before


@many
@given(body=st.binary(max_size=300), headers=_HEADERS)
@example(b'{"event":"test","n":' + b"9" * 5000 + b"}", [])
@example(b'{"event":"test","n":1e999}', [])
@example(b'{"event":"test","n":' + b"[" * 150 + b"]" * 150 + b"}", [])
@example(b'{"event":"test","n":' + b"[" * 199 + b"]" * 199 + b"}", [])
@example(b'{"event":"test","s":"\\ud800"}', [])
@example(b'{"event":"test","s":"\\u0000"}', [])
@example(b'{"event":"test","s":"\x00"}', [])
@example(b'{"event":"test"}', [(b"x-tts-delivery-id", b"d" * 10_000), (b"user-agent", b"\xff" * 10_000)])
def test_a_signed_body_of_any_bytes_is_stored_or_400(hosted: Hosted, body: bytes, headers: Lines) -> None:
    headers = [line for line in headers if line[0] not in (b"x-tts-signature", b"content-length")]
    signed = [*headers, (b"x-tts-signature", signature(body, SECRET).encode())]
    status, answer = hosted.ask(signed, [body])
    assert status in (202, 400)
    assert hosted.ask(signed, [body])[0] == status, "a copy is answered like the first"
    assert set(json.loads(answer)) == ({"status", "event"} if status == 202 else {"error"})


@many
@given(word=_WORDS, data=_DATA | _JSON, extra=_DATA, header=st.sampled_from([b"test", b"job.completed", b"", b"\xff"]))
def test_signed_json_of_any_shape_is_stored_or_400_and_can_be_read_back(
    hosted: Hosted, word: Any, data: Any, extra: dict[str, Any], header: bytes
) -> None:
    body = json.dumps({**extra, "event": word, "data": data}).encode()
    lines = [(b"x-tts-signature", signature(body, SECRET).encode()), (b"x-tts-event", header)]
    status, answer = hosted.ask(lines, [body])
    assert status in (202, 400)
    assert hosted.ask(lines, [body])[0] == status, "a copy is answered like the first"
    if status == 202:
        found = next(row for row in hosted.up.rows() if row["id"] == json.loads(answer)["event"])
        assert found["payload"] is not None


@many
@given(
    path=st.text(max_size=40).map(lambda text: "/" + text) | st.sampled_from(["/webhooks/", "/webhooks/aitts/x", "//"]),
    method=st.sampled_from(["POST", "GET", "PUT", "BREW", ""]),
)
def test_any_other_path_or_method_is_a_plain_4xx(hosted: Hosted, path: str, method: str) -> None:
    if path in ("/livez", "/readyz", "/webhooks/aitts"):
        return
    status, answer = hosted.ask([], [], path, method)
    assert status in (404, 405)
    assert set(json.loads(answer)) == {"error"}
