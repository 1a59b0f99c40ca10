"""Log lines: one JSON object each, or for people; never with a secret or a URL's query, from whoever they come."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.integration.intake_support import Lines, logged

SECRET = 'tts_secret_"quoted"\\0123456789'
QUERY = "X-Amz-Signature=HIDDEN"
URL = f"https://user:HIDDEN@storage.example/a.wav?{QUERY}#HIDDEN"


@pytest.fixture(params=["json", "console"])
def lines(request: pytest.FixtureRequest) -> Iterator[Lines]:
    with logged(request.param, secrets=(SECRET,)) as lines:
        yield lines


@pytest.fixture
def as_json() -> Iterator[Lines]:
    with logged("json", secrets=(SECRET,)) as lines:
        yield lines


def assert_clean(lines: Lines) -> None:
    text = lines.text
    assert "HIDDEN" not in text
    for form in (SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1]):
        assert form not in text


def fail() -> None:
    raise RuntimeError(f"{SECRET} was refused by {URL}")


def _structlog_event() -> None:
    structlog.get_logger("x").warning(f"{SECRET} {URL}")


def _structlog_field() -> None:
    structlog.get_logger("x").warning(
        "x", detail=f"{SECRET}", url=URL, nested={"a": [SECRET, URL]}, error=ValueError(URL)
    )


def _structlog_bound() -> None:
    structlog.get_logger("x").bind(url=URL, key=SECRET).warning("x")


def _structlog_traceback() -> None:
    try:
        fail()
    except RuntimeError:
        structlog.get_logger("x").exception("x")


def _structlog_exc_info() -> None:
    structlog.get_logger("x").error("x", exc_info=RuntimeError(f"{SECRET} {URL}"))


def _standard() -> None:
    logging.getLogger("a.library").warning("%s at %s", SECRET, URL)


def _standard_traceback() -> None:
    try:
        fail()
    except RuntimeError:
        logging.getLogger("a.library").exception("failed for %s", URL)


@pytest.mark.parametrize(
    "write",
    [
        _structlog_event,
        _structlog_field,
        _structlog_bound,
        _structlog_traceback,
        _structlog_exc_info,
        _standard,
        _standard_traceback,
    ],
)
def test_no_secret_and_no_query_is_written_by_anybody(lines: Lines, write: Callable[[], None]) -> None:
    write()
    assert "storage.example" in lines.text or "redacted" in lines.text
    assert_clean(lines)


def test_a_line_begins_with_time_level_message_and_event_id(as_json: Lines) -> None:
    structlog.get_logger("x").bind(source="aitts").warning("delivery.refused", outcome="mismatch", event_id="evt_1")
    first = as_json.text.splitlines()[0]
    line = json.loads(first)
    assert list(line) == ["timestamp", "level", "message", "event", "source", "outcome"]
    assert (line["level"], line["message"], line["event"]) == ("warning", "delivery.refused", "evt_1")
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


def test_a_librarys_line_has_the_same_form(as_json: Lines) -> None:
    logging.getLogger("a.library").error("it %s", "broke")
    line = json.loads(as_json.text.splitlines()[0])
    assert (line["level"], line["message"]) == ("error", "it broke")
    assert list(line)[:3] == ["timestamp", "level", "message"]


def test_a_traceback_is_one_line_with_the_rest(as_json: Lines) -> None:
    _structlog_traceback()
    [line] = as_json.of("x")
    assert "RuntimeError: [redacted] was refused" in line["exception"]
    assert "in fail" in line["exception"]
    assert "exc_info" not in line


def test_lines_below_the_level_are_not_written() -> None:
    with logged(level="warning") as lines:
        structlog.get_logger("x").info("quiet")
        logging.getLogger("a.library").info("quiet")
        structlog.get_logger("x").warning("loud")
        assert "quiet" not in lines.text
        assert lines.of("loud")


def test_libraries_that_quote_whole_addresses_are_quiet(as_json: Lines) -> None:
    logging.getLogger("httpx").info("HTTP Request: GET %s", URL)
    logging.getLogger("uvicorn.access").info("POST /webhooks/aitts")
    assert "HTTP Request" not in as_json.text
    assert "POST" not in as_json.text


def test_a_warning_is_written_at_once_with_every_line_before_it(as_json: Lines) -> None:
    log = structlog.get_logger("x")
    for number in range(100):
        log.info("first", number=number)
    log.warning("second")
    written = [json.loads(line) for line in as_json.stream.getvalue().splitlines()]
    assert [line.get("number") for line in written] == [*range(100), None]


def test_context_that_was_bound_for_the_task_is_on_the_line(as_json: Lines) -> None:
    with structlog.contextvars.bound_contextvars(request="r-1"):
        structlog.get_logger("x").warning("x")
    assert as_json.of("x")[0]["request"] == "r-1"


class Unfriendly:
    def __repr__(self) -> str:
        return f"<{SECRET}>"


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\x00", "\udcff", float("nan"), {1: 2, None: 3, (1, 2): 4}, {b"k": b"\xff"}, {"a", "b"},
        object(), Unfriendly(), datetime(2026, 1, 1), ValueError("x"), ["\udcff"], {"\udcff": 1}, "a\nb\x1b[31m",
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_any_value_can_be_logged(lines: Lines, value: Any) -> None:
    structlog.get_logger("x").warning("odd", value=value)
    logging.getLogger("a.library").warning("odd %s", "x", extra={"value": value})
    written = lines.text
    assert "odd" in written
    assert SECRET not in written


def test_a_value_that_holds_itself_can_be_logged(as_json: Lines) -> None:
    loop: list[Any] = []
    loop.append(loop)
    structlog.get_logger("x").warning("odd", value=loop)
    assert as_json.of("odd")


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(message=st.text(), value=st.text() | st.binary() | st.dictionaries(st.text(), st.text()) | st.floats())
def test_any_text_from_outside_makes_exactly_one_json_line(as_json: Lines, message: str, value: Any) -> None:
    as_json.stream.seek(0)
    as_json.stream.truncate()
    structlog.get_logger("x").warning(message, value=value)
    line = as_json.stream.getvalue()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert json.loads(line)["level"] == "warning"
