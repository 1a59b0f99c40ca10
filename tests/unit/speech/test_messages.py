"""The sentences about a job that has ended, or does not go on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from receiver.model.event import Event, build_event
from receiver.speech.messages import failure_reason, resume_hint, stall_reason
from receiver.store.throttle_state import ThrottleState


def row(state: str, **more: Any) -> dict[str, Any]:
    known = {"id": "job_1", "source": "audixa", "job_id": "gen-1", "state": state, "submits": 0, "deadline_at": 1e9}
    return known | {"error": None, "error_code": None, "kind": None} | more


def failure(code: str, message: str) -> Event:
    payload = {"error": {"code": code, "message": message}}
    return build_event(
        id="evt_1", source="audixa", type="job.failed", job_id="gen-1", origin="poll", received_at=1.0, payload=payload
    )


def test_a_failed_job_says_what_the_service_said() -> None:
    said = failure_reason(row("failed"), failure("GENERATION_FAILED", "No."))
    assert said == "audixa failed to make the audio (GENERATION_FAILED: No.). The job is job_1, its id at audixa gen-1."
    assert "no reason given" in failure_reason(row("failed"), failure("", ""))


def test_a_job_that_was_given_up_can_be_watched_again() -> None:
    said = failure_reason(row("expired"), failure("POLL_TIMEOUT", "The job did not end in time."))
    assert "`tts-receiver jobs watch --source audixa gen-1`" in said
    assert "`tts-receiver speech --job job_1`" in said


def test_what_was_refused_or_is_unknown_says_why() -> None:
    assert "cancelled" in failure_reason(row("cancelled"), None)
    assert failure_reason(row("failed", error="No credits."), None) == "No credits."
    assert failure_reason(row("unknown", error="Nobody knows."), None) == "The job job_1 is unknown: Nobody knows."
    voice = failure_reason(row("failed", error="No such voice.", error_code="provider_invalid"), None)
    assert voice.endswith("`tts-receiver voices --source audixa` lists them.")
    other = failure_reason(row("failed", error_code="provider_invalid", error="finevoice answers 404."), None)
    assert other == "finevoice answers 404."


def test_an_open_job_that_does_not_go_on_says_why_and_until_when() -> None:
    offline = stall_reason(row("submitting", error="Cannot connect.", error_code="connect_failed"), None)
    assert offline is not None
    assert "Nothing was sent yet; retries continue until 2001-09-09" in offline
    late = stall_reason(row("submitting", error="Timed out.", error_code="timeout"), None)
    assert late is not None
    assert "Nothing was sent yet" not in late
    polled = stall_reason(row("watching", error="It answers 500."), None)
    assert polled is not None
    assert "Polling continues" in polled
    used_up = stall_reason(row("watching"), ThrottleState(2e9, "rate_limit_used_up"))
    assert used_up is not None
    assert re.fullmatch(r"The rate limit of the source \w+ is used up until 2033-05-18.*\.", used_up)
    paused = stall_reason(row("watching"), ThrottleState(2e9, "provider_unauthorized"))
    assert paused is not None
    assert "is paused until 2033-05-18 03:33:20Z (provider_unauthorized)" in paused
    assert "jobs poll job_1" in paused
    assert stall_reason(row("watching"), None) is None
    assert stall_reason(row("failed", error="It is over."), None) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (row("submitting"), "not submitted yet"),
        (row("submitting", submits=1), "may have been submitted"),
        (row("watching"), "continues at audixa"),
        (row("completed"), "its audio can be fetched"),
    ],
)
def test_a_job_that_is_left_says_what_becomes_of_it(found: dict[str, Any], words: str) -> None:
    said = resume_hint(found)
    assert words in said
    assert "jobs cancel job_1" in said
