"""Renders a line as JSON, or for a terminal. Whatever values it has, rendering returns a line and never raises."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pydantic_core
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from receiver.logs.bounds import bound_values
from receiver.model.printable import printable, printable_json, printable_lines
from receiver.model.redact import Redactor

MAX_LINE_CHARACTERS = 65_536
"""Characters of a line. The values of a longer one are truncated."""
MAX_VALUE_CHARACTERS = 4_096
"""Characters of a value in a line that was too long."""

_PLAIN = (int, float, bool, type(None))


class Renderer:
    """Renders an event as a line of text. If a value raises, the line loses its fields and nothing else.

    Args:
        prepare: processors that change the event.
        render: returns the event as text, without a line break at its end.
        escape: of the whole text, if `prepare` has not escaped each value.
    """

    def __init__(
        self,
        prepare: Sequence[Processor],
        render: Callable[[WrappedLogger, str, EventDict], str],
        redact: Redactor,
        escape: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._prepare = tuple(prepare)
        self._render = render
        self._redact = redact
        self._escape = escape

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> str:
        """The line, as the last of structlog's processors."""
        message = line.get("event")
        try:
            event: Any = line
            for step in self._prepare:
                event = step(logger, method, event)
            return self._text(logger, method, event)
        except structlog.DropEvent:
            raise
        except Exception as error:  # noqa: BLE001 - a value of any class may be in the line
            return self._bare(method, message, error)

    def _text(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        text = self._render(logger, method, event)
        if len(text) > MAX_LINE_CHARACTERS:
            text = self._render(logger, method, self._shortened(event))
        return self._escape(self._redact(text))

    def warning(self, message: str, **fields: Any) -> str:
        """A warning of the log itself."""
        return self(None, "warning", {"event": message, **fields})

    def _shortened(self, event: EventDict) -> EventDict:
        return {name: value if isinstance(value, _PLAIN) else self._cut(value) for name, value in event.items()}

    def _cut(self, value: Any) -> str:
        return self._redact.bounded(text_of(value), MAX_VALUE_CHARACTERS)

    def _bare(self, method: str, message: Any, error: Exception) -> str:
        bare = {"level": method, "message": self._cut(message), "not_rendered": type(error).__name__}
        return printable_json(self._redact(json.dumps(bare)))


class JsonRenderer(Renderer):
    """Renders an event as a line of JSON, after these processors."""

    def __init__(self, first: Sequence[Processor], redact: Redactor) -> None:
        super().__init__([*first, _ordered, _with_exception, bound_values], _render_json, redact, printable_json)

    def render_ordered(self, method: str, event: EventDict) -> str:
        """The line of an event whose fields already have their names and order, and whose values are plain."""
        try:
            return self._text(None, method, event)
        except Exception as error:  # noqa: BLE001 - as above
            return self._bare(method, event["message"], error)


def console_renderer(first: Sequence[Processor], redact: Redactor, *, colors: bool) -> Renderer:
    """A line for a terminal, after these processors: values are escaped before colours are added."""
    render = structlog.dev.ConsoleRenderer(
        colors=colors, event_key="message", exception_formatter=structlog.dev.plain_traceback
    )
    return Renderer([*first, _ordered, _with_exception, bound_values, _escaped_values], render, redact)


class Timestamp:
    """The processor that adds the time in UTC. structlog's own takes a quarter of a line's time; this a twentieth."""

    def __init__(self) -> None:
        self._second = (0, "")

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        """Add `timestamp`."""
        line["timestamp"] = self.now()
        return line

    def now(self) -> str:
        """The time in ISO 8601, to the microsecond."""
        second, fraction = divmod(time.time_ns(), 1_000_000_000)
        cached_second, text = self._second
        if second != cached_second:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = (second, text)  # atomic, for other threads
        return f"{text}.{fraction // 1000:06d}Z"


def text_of(value: Any) -> str:
    """A value as text that can be encoded as UTF-8; never raises."""
    try:
        text = value if isinstance(value, str) else repr(value)
        return text.encode(errors="backslashreplace").decode()
    except Exception as error:  # noqa: BLE001 - the repr of a class may raise anything
        return f"<{type(value).__name__}: {type(error).__name__} from its repr>"


def _ordered(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """The fields in their order. The field `event` is the event's id, so the line's text is in `message`."""
    ordered: EventDict = {"timestamp": line.pop("timestamp", None), "level": line.pop("level", method)}
    ordered["message"] = line.pop("event", "")
    if "event_id" in line:
        ordered["event"] = line.pop("event_id")
    ordered.update(line)
    return ordered


def _render_json(logger: WrappedLogger, method: str, line: EventDict) -> str:
    try:
        return pydantic_core.to_json(line, fallback=str, inf_nan_mode="strings").decode()
    except Exception:  # noqa: BLE001 - bytes that are not text, an unpaired surrogate, a value that contains itself or raises
        return pydantic_core.to_json({text_of(name): text_of(value) for name, value in line.items()}).decode()


def _with_exception(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    if line.get("exc_info"):
        return structlog.processors.format_exc_info(logger, method, line)
    line.pop("exc_info", None)
    return line


def _escaped_values(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    safe: EventDict = {}
    for name, value in line.items():
        if isinstance(value, _PLAIN):
            safe[printable(name)] = value
        else:
            escape = printable_lines if name in ("exception", "stack") else printable
            safe[printable(name)] = escape(text_of(value))
    return safe
