"""Logs to standard error: one JSON object per line, or colours on a terminal; without secrets.

A call renders a line and passes it to the writer's thread: code that logs never waits, and no call raises.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from receiver.clock import SystemClock
from receiver.logs.calls import bound_logger
from receiver.logs.interpreter import capture_interpreter_errors
from receiver.logs.rate_limiter import LogRateLimiter
from receiver.logs.rendering import JsonRenderer, Renderer, Timestamp, console_renderer
from receiver.logs.sinks import sink_of
from receiver.logs.writer import LogWriter
from receiver.model.redact import Redactor

__all__ = ["LIBRARY_LEVELS", "add_secrets", "capture_interpreter_errors", "configure", "dropped_lines"]

LIBRARY_LEVELS = {
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "uvicorn.error": logging.WARNING,
    "alembic": logging.WARNING,
    "aio_pika": logging.CRITICAL,
    "aiormq": logging.CRITICAL,
}
"""The lowest level of libraries whose lines repeat ours, or contain complete URLs."""


def configure(
    *, level: str = "info", format: str = "auto", secrets: Iterable[str] = (), stream: TextIO | None = None
) -> LogWriter:
    """Set up structlog and the standard library's logging, so that both write the same kind of line.

    Args:
        level: debug, info, warning or error.
        format: `json`, `console`, or `auto` for colours where the stream is a terminal.
        secrets: texts that no line may contain.
        stream: where to write; by default standard error.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    redact = Redactor(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        Timestamp(),
    ]

    def renderer(processors: list[Processor]) -> Renderer:
        if format == "console" or (format == "auto" and terminal):
            return console_renderer(processors, redact, colors=terminal)
        return JsonRenderer(processors, redact)

    render = renderer(shared)

    def dropped(counts: Mapping[str, int]) -> str:
        return render.warning("log.dropped", count=sum(counts.values()), causes=dict(sorted(counts.items())))

    rate_limiter = LogRateLimiter(partial(render, None), SystemClock())
    writer = LogWriter(sink_of(stream), dropped, rate_limiter)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[rate_limiter, render],
        wrapper_class=bound_logger(threshold),
        logger_factory=LineLoggers(writer, redact),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(writer, shared, renderer([]))]
    root.setLevel(threshold)
    for name, minimum in LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(max(minimum, threshold))
    return writer


def add_secrets(secrets: Iterable[str]) -> None:
    """Redact these texts as well, in every further line. No effect if `configure` was not called."""
    factory = structlog.get_config()["logger_factory"]
    if isinstance(factory, LineLoggers):
        factory.redact.add(secrets)


def dropped_lines() -> Mapping[str, int]:
    """The number of lines that this process has dropped, by cause; empty if `configure` was not called."""
    factory = structlog.get_config()["logger_factory"]
    return factory.writer.dropped if isinstance(factory, LineLoggers) else {}


class LineLoggers:
    """The logger factory of structlog: its logger passes a line's text to the writer."""

    def __init__(self, writer: LogWriter, redact: Redactor) -> None:
        self.writer = writer
        self.redact = redact
        self._logger = LineLogger(writer)

    def __call__(self, *names: Any) -> LineLogger:
        """The logger; there is only one."""
        return self._logger


class LineLogger:
    """Passes lines to the writer, by level."""

    def __init__(self, writer: LogWriter) -> None:
        self.notset = self.debug = self.info = writer.put
        self.warning = self.error = self.critical = writer.put_urgent


class LineHandler(logging.Handler):
    """Handles records of the standard library's loggers. It neither raises nor prints an error itself."""

    def __init__(self, writer: LogWriter, shared: list[Processor], render: Renderer) -> None:
        super().__init__()
        self._writer = writer
        self._render = render
        remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        self.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove, render]))

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the record's line to the writer."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - for example arguments that do not match the message
            fallback = {"level": record.levelname.lower(), "event": record.msg, "not_rendered": type(error).__name__}
            line = self._render(None, record.levelname.lower(), fallback)
        if record.levelno >= logging.WARNING:
            self._writer.put_urgent(line)
        else:
            self._writer.put(line)
