"""What the handler `forward` sends is what `forward-test` reads: the handler itself, into the application itself."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from handlers.forward import forward
from receiver import Event
from receiver.cli.forward_test.application import ForwardTarget, Receipt, Refusal, signing_keys
from receiver.cli.forward_test.lines import receipt_line, refusal_lines
from receiver.model.signature import SCHEMES
from receiver.testing import completed, failed, make_event, run_handler, wav

SECRETS = {
    "standard-webhooks": [
        "whsk_c2VlZC1vZi10aGlydHktdHdvLWJ5dGVzLS0tLS0tLS0=", "whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcyE="
    ],
    "tts": ["a-shared-secret-0123"],
}  # fmt: skip
URL = "http://127.0.0.1:9000/speech-events"


def forwarded(event: Event, *, known: str | None = None, status: int = 204, **options: Any) -> tuple[str, Any, str]:
    """Forward an event: how the run ended, what the application reported, and the line that is printed."""
    scheme = SCHEMES[options.setdefault("scheme", "standard-webhooks")]
    secrets = SECRETS[scheme.name]
    reports: list[Receipt | Refusal] = []
    target = ForwardTarget(scheme, signing_keys(scheme, [known or secrets[-1]]), reports.append, status)
    outcome = run_handler(
        forward,
        event,
        audio=wav(seconds=2),
        options={"url": URL, "secrets": secrets, "attempts": 1} | options,
        http=httpx.ASGITransport(target.app),
    )
    [report] = reports
    lines = refusal_lines(report) if isinstance(report, Refusal) else [receipt_line(report)]
    return outcome.state, report, lines[0].partition("Z ")[2]


@pytest.mark.parametrize("scheme", SECRETS)
@pytest.mark.parametrize("format_", ["cloudevents", "cloudevents-binary"])
@pytest.mark.parametrize(("audio", "shown"), [("inline", "inline"), ("link", "link"), ("none", None)])
def test_the_end_of_a_job_is_verified_and_read(scheme: str, format_: str, audio: str, shown: str | None) -> None:
    state, report, line = forwarded(completed("job-ä\n"), scheme=scheme, format=format_, audio=audio)
    assert (state, report.status, report.event.mode) == ("succeeded", 204, format_)
    content = f"no audio, {report.size:,} bytes" if shown is None else f"wav 2.00 s, 96,044 bytes, {shown}"
    assert line == f"job.completed test job-ä\\n  {content}"


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (failed("job-1", code="NO_VOICE", message="There is no such voice."), "NO_VOICE: There is no such voice."),
        (make_event("voice.added", payload={"voice": "x"}), "no audio, "),
    ],
    ids=["failed", "other"],
)
def test_every_other_event_is_read_as_well(event: Event, shown: str) -> None:
    state, report, line = forwarded(event)
    assert (state, report.event.data.type) == ("succeeded", event.type)
    assert shown in line


def test_the_providers_own_body_is_verified_as_it_was_received() -> None:
    event = completed("job-1", body={"event": "job.completed", "data": {"job_id": "job-1"}})
    state, report, line = forwarded(event, format="provider")
    assert (state, report.event.mode, report.size) == ("succeeded", "provider", len(event.raw))
    assert line == f"job.completed  the provider's body, {len(event.raw)} bytes"


def test_another_secret_ends_the_attempt_with_the_reason() -> None:
    state, report, line = forwarded(completed("job-1"), known="whsec_b2xkLXNlY3JldC1vZi0yNC1ieXRlcyE=")
    assert (state, report.reason) == ("dead", "mismatch")
    assert line.startswith("refused: 401 mismatch. No configured signing secret")


def test_another_response_fails_the_attempt() -> None:
    state, report, _ = forwarded(completed("job-1"), status=500)
    assert (state, report.status) == ("dead", 500)
