"""What makes two deliveries the same event."""

from __future__ import annotations

import hashlib

import pytest

from receiver.model.delivery import Parsed, identity


@pytest.mark.parametrize("type", ["job.completed", "job.failed"])
def test_a_terminal_event_is_its_job_whatever_the_delivery_and_body(type: str) -> None:
    parsed = Parsed(type, "job_1", {})
    assert {identity(parsed, "msg_1", b"a"), identity(parsed, None, b"b")} == {"job_1"}


@pytest.mark.parametrize("job_id", [None, "job_1"])
def test_any_other_event_is_its_signed_message_id_else_its_body(job_id: str | None) -> None:
    parsed = Parsed("test", job_id, {})
    assert identity(parsed, "msg_1", b"a") == "msg_1"
    assert identity(parsed, None, b"a") == hashlib.sha256(b"a").hexdigest()
    assert identity(parsed, None, b"a") != identity(parsed, None, b"b")
