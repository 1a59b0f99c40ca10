"""A line of a delivery is the line that an ordinary call writes."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from receiver import logs
from receiver.logs.event_line import EventLine

SECRET = "hush-hush-hush-hush"

TEXTS = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["", SECRET, f"a{SECRET[:9]}…", "https://a.example/b?c=d", "\x7f\u202e\u0085", '"\\\n', "\ud800", "x" * 70_000]
)


@pytest.fixture
def log_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


pytestmark = pytest.mark.usefixtures("log_as_before")


def lines(fields: dict[str, Any], **options: Any) -> tuple[str, str]:
    """The text of the ordinary call, and of the fixed line, without the time."""
    found = []
    for at_once in (False, True):
        stream = io.StringIO()
        writer = logs.configure(secrets=[SECRET], stream=stream, **{"level": "info", "format": "json", **options})
        log = structlog.get_logger("receiver.intake").bind(source=fields["source"])
        rest = {name: value for name, value in fields.items() if name != "source"}
        if at_once:
            EventLine(log, "delivery.accepted")(rest.pop("event_id"), rest)
        else:
            log.info("delivery.accepted", **rest)
        writer.close()
        found.append(stream.getvalue())
    ordinary, fixed = (re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "", text) for text in found)
    return ordinary, fixed


FIELDS = {"source": "aitts", "event_id": "evt_1", "type": "job.completed", "job": "job_1", "key": None}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, TEXTS, TEXTS, st.none() | TEXTS, st.none() | TEXTS)
@example("aitts", "evt_1", "job.completed", "job_1", "key_1")
def test_it_is_the_line_of_an_ordinary_call(
    source: str, event_id: str, type_: str, job: str | None, key: str | None
) -> None:
    fields = {"source": source, "event_id": event_id, "type": type_, "job": job, "key": key}
    ordinary, fixed = lines(fields)
    assert fixed == ordinary
    assert "delivery.accepted" in ordinary


@pytest.mark.parametrize("options", [{"format": "console"}, {"level": "warning"}, {"level": "debug"}])
def test_it_is_so_in_each_format_and_at_each_level(options: dict[str, str]) -> None:
    ordinary, fixed = lines(FIELDS, **options)
    assert fixed == ordinary
    assert bool(ordinary) == (options.get("level") != "warning")


def test_what_is_bound_to_the_context_is_in_it() -> None:
    with structlog.contextvars.bound_contextvars(request="r-1"):
        ordinary, fixed = lines(FIELDS)
    assert fixed == ordinary
    assert '"request":"r-1"' in fixed


def test_a_test_that_captures_lines_gets_it() -> None:
    logs.configure(level="info", format="json", stream=io.StringIO())
    line = EventLine(structlog.get_logger("receiver.intake").bind(source="aitts"), "delivery.accepted")
    with structlog.testing.capture_logs() as captured:
        line("evt_1", {"type": "job.completed", "job": "job_1", "key": None})
    assert [entry["event"] for entry in captured] == ["delivery.accepted"]


def test_the_time_is_now() -> None:
    stream = io.StringIO()
    writer = logs.configure(level="info", format="json", stream=stream)
    log = structlog.get_logger("receiver.intake").bind(source="aitts")
    line = EventLine(log, "delivery.accepted")
    log.info("first")
    line("evt_1", {"type": "job.completed", "job": "job_1", "key": None})
    log.info("last")
    writer.close()
    times = [json.loads(text)["timestamp"] for text in stream.getvalue().splitlines()]
    assert times == sorted(times)
