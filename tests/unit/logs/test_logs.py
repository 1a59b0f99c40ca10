"""Log lines: one JSON object each, or for people; never with a secret or a URL's query, wherever they come from."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from receiver.logs import LineHandler
from tests.integration.intake_support import Lines, logged
from tests.patience import PATIENCE

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
    written = [json.loads(line) for line in as_json.text.splitlines()]
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
    before = len(as_json.text)
    structlog.get_logger("x").warning(message, value=value)
    line = as_json.text[before:]
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert json.loads(line)["level"] == "warning"


def leave_ours_alone() -> None:
    """Without pytest's own handlers, which raise where a line cannot be made."""
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, LineHandler)]


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


@pytest.mark.parametrize("name", ["value", "event_id", "exc_info", "stack_info"])
def test_a_value_whose_repr_raises_raises_into_no_call(lines: Lines, name: str) -> None:
    leave_ours_alone()
    structlog.get_logger("x").warning("odd", **{name: Hostile()})
    structlog.get_logger("x").warning("deep", **{name: [Hostile()]})
    structlog.get_logger("x").warning(Hostile())
    logging.getLogger("a.library").warning("%s", Hostile())
    logging.getLogger("a.library").warning("%d and %d", "one")  # noqa: PLE1206
    logging.getLogger("a.library").warning(Hostile())
    assert all(word in lines.text for word in ("odd", "deep", "%s", "%d and %d"))


def test_nothing_is_said_on_standard_error_about_a_line_that_is_wrong(
    lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_ours_alone()
    logging.getLogger("a.library").warning("%d", "not a number")
    assert "%d" in lines.text
    assert capsys.readouterr().err == ""


def test_a_line_of_any_length_is_bounded_and_has_no_part_of_a_secret(lines: Lines) -> None:
    structlog.get_logger("x").warning("long", value="x" * 4_000 + SECRET * 30_000, number=7)
    assert len(lines.text) < 70_000
    assert "7" in lines.text
    assert "tts_secret" not in lines.text


CONTROLS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F),
                             *range(0x2066, 0x206A), 0xFEFF, 0xE0001]))  # fmt: skip


def test_no_control_from_outside_reaches_a_terminal(lines: Lines) -> None:
    text = f"a{CONTROLS}ü音b"
    structlog.get_logger("x").warning(text, value=text, nested={text: [text]}, **{text: text})
    logging.getLogger("a.library").warning("%s", text)
    written = lines.text
    assert [char for char in written if not char.isprintable() and char != "\n"] == []
    assert written.count("\n") == 2
    assert "ü音" in written
    assert "\\u202e" in written


def test_a_tracebacks_lines_stay_and_controls_in_it_are_escaped(lines: Lines) -> None:
    structlog.get_logger("x").error("x", exc_info=RuntimeError(CONTROLS))
    assert "RuntimeError" in lines.text
    assert [char for char in lines.text if not char.isprintable() and char not in "\n\t"] == []


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | st.text(alphabet=CONTROLS))
def test_json_has_the_same_value(as_json: Lines, text: str) -> None:
    before = len(as_json.text)
    structlog.get_logger("x").warning("x", value=text)
    assert json.loads(as_json.text[before:])["value"] == text


def test_what_python_itself_says_goes_through_the_log() -> None:
    program = """
import threading, warnings
from receiver import logs
logs.configure(format="json")
logs.capture_interpreter_errors()
class Broken:
    def __del__(self): raise ValueError("in a finalizer")
def fail(): raise ValueError("in a thread")
Broken()
thread = threading.Thread(target=fail, name="t-1")
thread.start()
thread.join()
warnings.warn("out of fashion")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE, check=True)
    finalizer, thread, warning = map(json.loads, done.stderr.splitlines())
    assert (finalizer["message"], thread["message"], thread["thread"]) == ("finalizer.failed", "thread.failed", "t-1")
    assert "ValueError: in a finalizer" in finalizer["exception"]
    assert "ValueError: in a thread" in thread["exception"]
    assert "out of fashion" in warning["message"]


@pytest.mark.parametrize("arguments", [("one",), ("one", Hostile()), (1, 2, 3)], ids=["few", "hostile", "many"])
def test_arguments_that_do_not_fit_the_message_raise_into_no_call(lines: Lines, arguments: tuple[Any, ...]) -> None:
    structlog.get_logger("x").info("%s and %d", *arguments)
    structlog.get_logger("x").info("%s and %d", "one", 2)
    assert "%s and %d" in lines.text
    assert "one and 2" in lines.text


def test_the_time_is_the_time(as_json: Lines) -> None:
    before = datetime.now(UTC)
    structlog.get_logger("x").info("x")
    at = datetime.fromisoformat(as_json.of("x")[0]["timestamp"])
    assert before <= at <= datetime.now(UTC)


def test_an_endless_value_is_not_read_and_a_large_one_is_cut(lines: Lines) -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    structlog.get_logger("x").warning("odd", value=endless(), nested={"a": [endless()]}, more=range(10**9))
    structlog.get_logger("x").warning("large", value=[*range(100_000)], deep={"a": {"b": [*range(5)]}})
    assert lines.text.count("generator object") == 2
    assert "[cut]" in lines.text
    assert "99999" not in lines.text
