"""Logs: one JSON object a line, or colours on a terminal; to standard error, with secrets cut out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from receiver.model.redact import Redactor

QUIET = {
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "uvicorn.error": logging.WARNING,
    "alembic": logging.WARNING,
}
"""Libraries whose own lines repeat ours, or quote whole addresses."""


def configure(
    *, level: str = "info", format: str = "auto", secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Set up structlog and the standard library's logging, so that both write the same kind of line.

    Args:
        level: debug, info, warning or error.
        format: `json`, `console`, or `auto` for colours where the stream is a terminal.
        secrets: texts that no line may show.
    """
    stream = stream or sys.stderr
    pretty = format == "console" or (format == "auto" and stream.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    redact = Redactor(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor]
    if pretty:
        render = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), event_key="message")]
    else:
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    # Our own field `event` is the event's id, so the line's text goes under `message`.
    finish: list[Processor] = [_message, *render, _redaction(redact)]

    structlog.configure(
        processors=[*shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, threshold))


def _message(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    ordered: EventDict = {"timestamp": line.pop("timestamp", None), "level": line.pop("level", method)}
    ordered["message"] = line.pop("event", "")
    if "event_id" in line:
        ordered["event"] = line.pop("event_id")
    ordered.update(line)
    return ordered


def _redaction(redact: Redactor) -> Processor:
    def cut(logger: WrappedLogger, method: str, line: Any) -> Any:
        return redact(line)

    return cut
