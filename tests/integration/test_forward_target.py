"""The application that events are forwarded to: what it accepts, what it refuses and why, and what it prints of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from receiver.cli.forward_test import application
from receiver.cli.forward_test.application import ForwardTarget, Receipt, Refusal, signing_keys
from receiver.cli.forward_test.lines import receipt_line, refusal_lines
from receiver.cli.forward_test.message import read_message
from receiver.errors import InvalidJson, MalformedDelivery, ReceiverError
from receiver.model.signature import SCHEMES
from receiver.signing import sign_standard_webhooks, sign_tts
from receiver.simulator.serving import LoopServer

pytestmark = pytest.mark.anyio

OLD = "whsec_b2xkLXNlY3JldC1vZi0yNC1ieXRlcyE="
NEW = "whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcyE="
PRIVATE = "whsk_" + "c2VlZC1vZi10aGlydHktdHdvLWJ5dGVzLS0tLS0tLS0="
AT = 1_795_000_000.0
DATA: dict[str, Any] = {
    "event_id": "evt_01a1fd82be9571b48465d61c9dfeac4f",
    "source": "aitts",
    "type": "job.completed",
    "job_id": "f3973de3-c21f-4a6b-9f1e-1b2c3d4e5f60",
    "status": "completed",
    "metadata": {},
    "audio": [
        {"n": 0, "format": "mp3", "bytes": 30720, "sha256": "0" * 64, "duration": 2.56, "link": "http://127.0.0.1/0"}
    ],
}
CE = {"specversion": "1.0", "id": DATA["event_id"], "source": "/tts-receiver/aitts", "type": "job.completed"}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BINARY = {"content-type": "application/json"} | {f"ce-{name}": value for name, value in CE.items()}


def document(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def structured(**data: Any) -> bytes:
    return document(CE | {"data": DATA | data})


class Running:
    """A running application, and what it has reported."""

    def __init__(self, url: str, reports: list[Receipt | Refusal], client: httpx.AsyncClient) -> None:
        self.url = url
        self.reports = reports
        self.client = client

    async def post(self, body: bytes, *headers: Mapping[str, str]) -> httpx.Response:
        merged: dict[str, str] = {}
        for part in headers:
            merged |= part
        return await self.client.post(self.url, content=body, headers=merged)


@asynccontextmanager
async def running(scheme: str = "standard-webhooks", *secrets: str, status: int = 204) -> AsyncIterator[Running]:
    reports: list[Receipt | Refusal] = []
    keys = signing_keys(SCHEMES[scheme], secrets or (NEW, OLD))
    target = ForwardTarget(SCHEMES[scheme], keys, reports.append, status)
    async with (
        LoopServer(target.app, "127.0.0.1", 0) as server,
        httpx.AsyncClient(trust_env=False, timeout=60) as client,
    ):
        yield Running(f"{server.url}/speech-events", reports, client)


def signed(body: bytes, secrets: Any = NEW, message_id: str = "evt_1:forward", at: int | None = None) -> dict[str, str]:
    return sign_standard_webhooks(body, secrets, message_id=message_id, timestamp=at)


async def test_both_modes_of_cloudevents_and_the_providers_body_are_read() -> None:
    provider = document({"event": "job.completed", "data": {"job_id": "x"}})
    async with running() as app:
        for number, (body, headers) in enumerate(
            [
                (structured(), STRUCTURED),
                (document(DATA), BINARY | {"ce-source": "/tts-receiver/%61itts"}),
                (provider, {"content-type": "application/json"}),
            ]
        ):
            response = await app.post(body, headers, signed(body, message_id=f"m{number}"))
            assert (response.status_code, response.content) == (204, b"")
    receipts = [report for report in app.reports if isinstance(report, Receipt)]
    assert [receipt.event.mode for receipt in receipts] == ["cloudevents", "cloudevents-binary", "provider"]
    assert [receipt.count for receipt in receipts] == [1, 1, 1]
    lines = [receipt_line(receipt).partition("Z ")[2] for receipt in receipts]
    assert lines == [
        "job.completed aitts f3973de3-c21…  mp3 2.56 s, 30,720 bytes, link",
        "job.completed aitts f3973de3-c21…  mp3 2.56 s, 30,720 bytes, link",
        f"job.completed  the provider's body, {len(provider)} bytes",
    ]


@pytest.mark.parametrize("secrets", [NEW, OLD, [NEW, OLD], [PRIVATE, NEW], PRIVATE])
async def test_one_known_secret_is_enough_whatever_its_kind(secrets: Any) -> None:
    body = structured()
    async with running("standard-webhooks", PRIVATE, NEW, OLD) as app:
        assert (await app.post(body, STRUCTURED, signed(body, secrets))).status_code == 204


async def test_the_scheme_of_the_provider_is_verified_as_well() -> None:
    body = structured()
    async with running("tts", "a-shared-secret-0123") as app:
        for _ in range(2):
            response = await app.post(body, STRUCTURED, sign_tts(body, "a-shared-secret-0123"))
            assert response.status_code == 204
        response = await app.post(body, STRUCTURED, sign_tts(body, "another-secret-0123"))
        assert response.status_code == 401
        assert response.text.startswith("mismatch: ")
    counts = [report.count for report in app.reports if isinstance(report, Receipt)]
    assert counts == [1, 2], "the event's id in the signed body marks a duplicate where no message id is signed"


async def test_a_signature_that_is_not_valid_is_answered_401_and_the_line_says_why() -> None:
    body = structured()
    headers = signed(body)
    now = int(time.time())
    async with running() as app:
        cases = {
            "mismatch": [(body + b" ", headers), (body, signed(body, PRIVATE.replace("whsk_", "whsec_")))],
            "missing_header": [(body, {})],
            "malformed_header": [(body, headers | {"webhook-timestamp": "soon"})],
            "too_old": [(body, signed(body, at=now - 1000))],
            "too_new": [(body, signed(body, at=now + 1000))],
        }
        for reason, requests in cases.items():
            for content, given_headers in requests:
                response = await app.post(content, STRUCTURED, given_headers)
                assert response.status_code == 401
                assert response.text.startswith(f"{reason}: ")
                refusal = app.reports[-1]
                assert isinstance(refusal, Refusal)
                printed = " ".join(line.strip() for line in refusal_lines(refusal))
                assert f"refused: 401 {reason}. {refusal.why}" in printed
    assert not any(isinstance(report, Receipt) for report in app.reports)


async def test_duplicates_are_marked_and_counted_by_the_signed_id() -> None:
    body = structured()
    async with running(status=503) as app:
        for message_id in ("a", "b", "a", "a"):
            assert (await app.post(body, STRUCTURED, signed(body, message_id=message_id))).status_code == 503
    receipts = [report for report in app.reports if isinstance(report, Receipt)]
    assert [receipt.count for receipt in receipts] == [1, 1, 2, 3]
    line = receipt_line(receipts[-1])
    assert line.startswith("! ")
    assert "duplicate (no. 3), answered 503" in line


async def test_few_message_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "MAX_REMEMBERED", 2)
    body = structured()
    async with running() as app:
        for message_id in ("a", "b", "c", "a"):
            await app.post(body, STRUCTURED, signed(body, message_id=message_id))
    assert [report.count for report in app.reports if isinstance(report, Receipt)] == [1, 1, 1, 1]


async def test_a_body_that_is_too_long_is_refused_by_its_announced_length() -> None:
    async with running() as app:
        address = httpx.URL(app.url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        length = application.MAX_BODY_BYTES + 1
        writer.write(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"413"
        writer.close()
    assert isinstance(app.reports[-1], Refusal)
    assert app.reports[-1].why == "The body has more than 67,108,864 bytes."


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (b"{", STRUCTURED, "not JSON"),
        (b"[]", STRUCTURED, "not an object"),
        (b"[]", BINARY, "not an object"),
        (document(CE), STRUCTURED, "The CloudEvent is not valid: data: "),
        (document(CE | {"specversion": "0.3", "data": DATA}), STRUCTURED, "is not valid: specversion: "),
        (document(DATA), {"ce-id": "x"}, "is not valid: source: Field required"),
        (structured(event_id="evt_other"), STRUCTURED, "is not that of its data"),
        (document(DATA), BINARY | {"ce-type": "job.failed"}, "is not that of its data"),
        (structured(audio=[{"n": "0"}]), STRUCTURED, "is not valid: audio.0."),
    ],
)
async def test_a_verified_message_that_is_not_valid_is_answered_400(
    body: bytes, headers: dict[str, str], why: str
) -> None:
    async with running() as app:
        response = await app.post(body, headers, signed(body))
    assert response.status_code == 400
    assert why in response.text


async def test_only_post_is_accepted_at_any_path() -> None:
    async with running() as app:
        assert (await app.client.get(app.url)).status_code == 405
        body = structured()
        url = app.url.replace("/speech-events", "/")
        response = await app.client.post(url, content=body, headers=STRUCTURED | signed(body))
        assert response.status_code == 204


def test_a_secret_that_cannot_be_used_is_named_by_its_position() -> None:
    with pytest.raises(ReceiverError, match="The secret 2 is not base64") as caught:
        signing_keys(SCHEMES["standard-webhooks"], [NEW, "whsec_not!base64"])
    assert "not!base64" not in str(caught.value)
    with pytest.raises(ReceiverError, match="The secret 1 is not an ed25519 private key"):
        signing_keys(SCHEMES["standard-webhooks"], ["whsk_c2hvcnQ="])


TEXT = st.text(max_size=40) | st.sampled_from(["\x1b[2J", "\u202e", "漢字" * 40, "x" * 500, "a\nb", "👩‍👩‍👧"])
FILES = st.lists(
    st.fixed_dictionaries(
        {"n": st.integers(0, 3), "format": TEXT, "bytes": st.integers(0, 10**15), "sha256": TEXT},
        optional={"duration": st.none() | st.floats(0, 1e9), "link": TEXT, "url": TEXT, "data_base64": TEXT},
    ),
    max_size=3,
)


@given(
    type_=TEXT.filter(bool),
    source=TEXT.filter(bool),
    job=st.none() | TEXT,
    error=st.none() | st.fixed_dictionaries({"code": TEXT, "message": TEXT}),
    audio=FILES,
    status=st.integers(200, 599),
    count=st.integers(1, 10**9),
)
def test_an_event_is_one_line_of_at_most_80_columns_without_control_characters(
    type_: str, source: str, job: str | None, error: Any, audio: list[Any], status: int, count: int
) -> None:
    data = DATA | {"type": type_, "source": source, "job_id": job, "error": error, "audio": audio}
    event = read_message(
        [(b"content-type", b"application/cloudevents+json")], document(CE | {"type": type_, "data": data})
    )
    line = receipt_line(Receipt(AT, status, event, 10**9, count))
    assert line.isprintable()
    assert cell_len(line) <= 80


@given(reason=TEXT, why=TEXT)
def test_a_refusal_has_lines_of_at_most_80_columns_without_control_characters(reason: str, why: str) -> None:
    lines = refusal_lines(Refusal(AT, 401, reason, why))
    assert all(line.isprintable() and len(line) <= 80 for line in lines)


@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from([b"content-type", b"ce-id", b"ce-type", b"ce-specversion", b"ce-source", b"x"]),
            st.binary(max_size=30) | st.sampled_from([b"application/cloudevents+json", b"1.0", b"%ff%"]),
        )
    ),
    body=st.binary(max_size=60) | st.from_type(dict).map(repr).map(str.encode),
)
def test_any_headers_and_bytes_are_read_or_refused(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    try:
        event = read_message(headers, body)
    except (MalformedDelivery, InvalidJson):
        return
    assert receipt_line(Receipt(AT, 204, event, len(body), 1)).isprintable()
