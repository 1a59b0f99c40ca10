"""`forward`: what the application receives, and what each of its answers means for the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from handlers.forward import MAX_RESPONSE_BYTES, forward
from receiver import AudioDelayed, AudioGone, BlockedAddress, PluginError, Reject, RetryLater
from receiver.model.signature import SCHEMES
from receiver.testing import HandlerOutcome, completed, failed, make_event, run_handler, wav

OLD, NEW = "whsec_b2xkLXNlY3JldC1vZi0yNC1ieXRlcyE=", "whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcyE="
OTHER = "whsec_YW5vdGhlci1vbmUtb2YtMjQtYnl0ZXM="
URL = "https://app.example/tts"
EVENT = failed("job-1", code="VOICE_NOT_FOUND")


class Application:
    """Receives requests and answers all of them alike."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(204)) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer(request)

    def forward(self, event: Any = EVENT, files: Any = None, **options: Any) -> HandlerOutcome:
        given = {"url": URL, "secrets": [NEW], **options}
        return run_handler(forward, event, audio=files, options=given, http=httpx.MockTransport(self))


def answering(status: int, body: bytes | str = b"", headers: dict[str, str] | None = None) -> Application:
    return Application(lambda request: httpx.Response(status, headers=headers, content=body))


# what is sent


@pytest.mark.parametrize("mode", ["cloudevents", "cloudevents-binary"])
def test_the_application_reads_a_cloudevent_and_verifies_it_with_either_secret(mode: str) -> None:
    application = Application()
    outcome = application.forward(completed("job-7"), wav(), secrets=[NEW, OLD], format=mode)
    [request] = application.requests
    assert outcome.result == {"status": 204, "bytes": len(request.content)}
    assert (request.method, str(request.url)) == ("POST", URL)
    event = from_http_event(HTTPMessage(headers=dict(request.headers), body=request.content))
    assert (event.get_type(), event.get_subject()) == ("job.completed", "job-7")
    for secret in (OLD, NEW):
        Webhook(secret).verify(request.content, dict(request.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(request.content + b" ", dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(request.content, dict(request.headers))


def test_every_attempt_has_the_same_message_id() -> None:
    application = answering(500)
    application.forward()
    application.forward()
    assert {request.headers["webhook-id"] for request in application.requests} == {f"{EVENT.id}:forward"}


def test_a_receiver_verifies_our_own_scheme_with_either_secret() -> None:
    application = Application()
    secrets = ["a-new-secret-of-the-application", "an-old-secret-of-the-application"]
    application.forward(scheme="tts", secrets=secrets)
    [request] = application.requests
    lines = [(name.lower(), value) for name, value in request.headers.raw]
    scheme = SCHEMES["tts"]
    for secret in secrets:
        now = float(request.headers["x-tts-signature"].partition(",")[0].removeprefix("t="))
        scheme.verify(lines, request.content, [scheme.parse_secret("key", secret)], now)


def test_the_providers_own_body_is_signed_as_it_is() -> None:
    application = Application()
    event = completed(body={"event": "job.completed", "data": {"job_id": "job-1"}})
    application.forward(event, format="provider")
    [request] = application.requests
    assert request.content == event.raw
    Webhook(NEW).verify(request.content, dict(request.headers))


def test_configured_headers_are_sent_beside_ours() -> None:
    application = Application()
    application.forward(headers={"Authorization": "Bearer of-the-application", "X-Tenant": "7"})
    [request] = application.requests
    sent = {name: request.headers[name] for name in ("authorization", "x-tenant", "content-type", "user-agent")}
    assert sent == {
        "authorization": "Bearer of-the-application",
        "x-tenant": "7",
        "content-type": "application/cloudevents+json",
        "user-agent": "tts-receiver",
    }


@pytest.mark.parametrize("event", [make_event("test", None), make_event("job.progress", payload={"percent": 3})])
def test_events_of_every_type_are_forwarded(event: Any) -> None:
    application = Application()
    assert application.forward(event).state == "succeeded"
    assert json.loads(application.requests[0].content)["data"]["payload"] == event.payload


# what an answer means


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_success(status: int) -> None:
    assert answering(status).forward().result["status"] == status


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "Fri, 27 Nov 2026 08:02:00 GMT", "Date": "Fri, 27 Nov 2026 08:00:00 GMT"}, 120.0),
        ({"Retry-After": "999999999999"}, 86_400.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_429_and_503_wait_as_long_as_the_application_asks(
    status: int, headers: dict[str, str], after: float | None
) -> None:
    outcome = answering(status, headers=headers).forward()
    assert (outcome.state, outcome.retry_after) == ("retry", after)
    assert isinstance(outcome.error, RetryLater)
    assert outcome.error.reason == "forward_delayed"


@pytest.mark.parametrize("status", [410, 422])
def test_410_and_the_configured_statuses_are_final(status: int) -> None:
    outcome = answering(status, "no such order").forward(reject_statuses=[422, 400])
    assert outcome.state == "dead"
    assert isinstance(outcome.error, Reject)
    assert outcome.error.reason == "forward_rejected"
    assert str(outcome.error) == f'app.example answered {status}: it does not accept this event: "no such order".'


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500, 502, 599])
def test_every_other_status_is_retried(status: int) -> None:
    outcome = answering(status).forward()
    assert (outcome.state, str(outcome.error)) == ("retry", f"app.example answered {status}.")
    assert getattr(outcome.error, "reason", None) == "forward_failed"


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://elsewhere.example:8443/x?token=abc", " to elsewhere.example"),
        ("/login", " to app.example"),
        (f"https://{'x' * 1000}/", f" to {'x' * 100}"),
        (None, ""),
    ],
)
def test_a_redirect_is_not_followed_and_its_host_is_named(location: str | None, where: str) -> None:
    application = answering(307, headers={"Location": location} if location else None)
    outcome = application.forward()
    assert len(application.requests) == 1
    assert outcome.state == "retry"
    assert str(outcome.error) == (
        f"app.example answered 307, a redirect{where}. Redirects are not followed: set url to the final address."
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://[::1/", "x" * 70_000, "x" * 65_536, "http://a:b:c/"])
def test_a_redirect_to_no_address_is_a_redirect(status: int, location: str) -> None:
    outcome = answering(status, headers={"Location": location}).forward()
    assert outcome.state == "retry"
    assert getattr(outcome.error, "reason", None) == "forward_failed"
    assert str(outcome.error) == (
        "app.example answered a redirect to what is not an address. Redirects are not followed: set url to the final "
        "address."
    )


def test_the_quoted_answer_is_printable_and_bounded() -> None:
    outcome = answering(500, b"\x00\x1b[31m bad\r\n\xff\xfe" + b"y" * 1_000_000).forward()
    text = str(outcome.error)
    assert text.startswith('app.example answered 500: "[31m bad \ufffd\ufffdyyy')
    assert text.endswith('y…".')
    assert len(text) < 400


def test_no_more_than_the_beginning_of_an_answer_is_read() -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 4096
            yield b"z" * 4096

    assert Application(lambda request: httpx.Response(200, content=endless())).forward().state == "succeeded"
    assert read <= MAX_RESPONSE_BYTES


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100)


@given(st.integers(100, 999), st.sampled_from([b"", b"Location", b"Retry-After", b"Date"]), HEADER, st.binary())
def test_whatever_the_application_answers_is_an_outcome_with_a_short_reason(
    status: int, name: bytes, value: str, body: bytes
) -> None:
    headers = [(name, value.encode())] if name else []
    application = Application(lambda request: httpx.Response(status, headers=headers, content=body))
    outcome = application.forward()
    assert len(application.requests) == 1
    assert (outcome.state == "succeeded") == (200 <= status < 300)
    if outcome.error is not None:
        assert getattr(outcome.error, "reason", "").startswith("forward_")
        assert str(outcome.error).isprintable()
        assert len(str(outcome.error)) < 600


def test_an_application_that_cannot_be_reached_is_tried_again() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed", request=request)

    outcome = Application(refuse).forward()
    assert outcome.state == "retry"
    assert str(outcome.error) == "app.example gave no usable answer: ConnectError: All connection attempts failed."


def test_a_body_that_breaks_off_changes_nothing_once_the_status_is_there() -> None:
    async def broken() -> Any:
        yield b"partly"
        raise httpx.ReadError("")

    assert Application(lambda request: httpx.Response(202, content=broken())).forward().state == "succeeded"
    outcome = Application(lambda request: httpx.Response(500, content=broken())).forward()
    assert str(outcome.error) == 'app.example answered 500: "partly".'


def test_a_private_address_needs_leave() -> None:
    given = {"url": "http://127.0.0.1:9/tts", "secrets": [NEW]}
    outcome = run_handler(forward, EVENT, options=given)
    assert outcome.state == "retry"
    assert isinstance(outcome.error, BlockedAddress)
    assert "set allow_private_addresses = true in [handlers.forward]" in str(outcome.error)


@pytest.mark.parametrize(("error", "state"), [(AudioDelayed("Wait.", after=9), "retry"), (AudioGone("Gone."), "dead")])
def test_audio_that_is_not_there_is_not_announced(error: Exception, state: str) -> None:
    application = Application()
    assert application.forward(completed(), error).state == state
    assert application.requests == []


# options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://app.example/"}, "url: .*http or https"),
        ({"url": "app.example"}, "url: .*http or https"),
        ({"url": "https://user:hunter2@app.example/"}, "url: .*Authorization"),
        ({"url": "https://app.example/#part"}, "url: .*fragment"),
        ({"url": "https://app.example:0/"}, "url: .*port"),
        ({"url": "http://[::1/"}, "url: .*not an address"),
        ({"scheme": "github"}, "scheme: "),
        ({"secrets": []}, "secrets: must have at least 1 item, not 0$"),
        ({"secrets": [NEW] * 17}, "secrets: must have at most 16 items, not 17$"),
        ({"secrets": NEW}, "secrets: must be a list"),
        ({"headers": NEW}, "headers: must be a table"),
        ({"secrets": [NEW, "whsec_not base64"]}, "secrets: .*secret 2 is not base64"),
        ({"secrets": ["whsec_c2hvcnQ="]}, "secrets: .*secret 1 has less than 16 bytes"),
        ({"secrets": ["short"], "scheme": "tts"}, "secrets: .*secret 1 has less than 16 bytes"),
        ({"request_seconds": 0}, "request_seconds: "),
        ({"request_seconds": 60, "timeout": 10}, "request_seconds: 60 s is more than the attempt's timeout of 10 s"),
        ({"timeout": 10}, "request_seconds: 15 s is more than the attempt's timeout of 10 s"),
        ({"reject_statuses": [200]}, "reject_statuses"),
        ({"reject_statuses": [422, 503]}, "reject_statuses: .*503"),
        ({"headers": {"Webhook-Id": "x"}}, "headers: .*Webhook-Id is a header that forward sets itself"),
        ({"headers": {"ce-id": "x"}}, "headers: .*ce-id is a header that forward sets itself"),
        ({"headers": {"Content-Type": "x"}}, "headers: .*Content-Type is a header"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers: .*'x-a' is given twice, as 'X-A' as well"),
        ({"headers": {"X A": "1"}}, "headers: 'X A' is not the name of a header$"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "headers: .*printable"),
        ({"audio": "signed-url"}, "audio: .*object storage"),
        ({"secret": [NEW]}, "secret is not an option of it; did you mean 'secrets'"),
    ],
)
def test_options_that_do_not_fit_are_errors_at_the_start(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message) as error:
        Application().forward(**options)
    assert NEW not in str(error.value)
    assert "Value error" not in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_url_and_secrets_are_required() -> None:
    with pytest.raises(PluginError, match="url: Field required; secrets: Field required"):
        run_handler(forward, EVENT, options={})
