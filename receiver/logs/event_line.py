"""A line with a fixed message and fixed fields, made in one step: for lines of each delivery or run.

An ordinary call goes through a dozen functions, which inspect the line. Here its content is known in advance.
"""

from __future__ import annotations

import logging
from contextvars import copy_context
from typing import Any

import structlog

from receiver.logs.rendering import JsonRenderer, Timestamp

_CONTEXT_PREFIX = structlog.contextvars.STRUCTLOG_KEY_PREFIX


class EventLine:
    """An info line about an event: its id, what the logger has bound, and the fields of the call.

    The line equals that of `logger.info`. If logging was configured by other means than `receiver.logs.configure`, or
    not for JSON, or if a value is bound to the context, `logger.info` writes it.

    Args:
        logger: a logger whose bound values are plain texts. The configuration is read at the first line.
    """

    def __init__(self, logger: Any, message: str) -> None:
        self._logger = logger
        self._message = message
        self._timestamp = Timestamp()
        self._is_ready = False

    def _prepare(self) -> None:
        self._is_ready = True
        logger = self._logger = self._logger.bind()
        self._bound: dict[str, Any] = structlog.get_context(logger)
        self._processors: list[Any] = logger._processors  # noqa: SLF001 - there is no public access
        # With ours, an info line passes the rate limiter unchanged and goes to the renderer.
        self._configured_processors = list(self._processors)
        threshold = getattr(logger, "threshold", logging.CRITICAL)
        self._direct = threshold <= logging.INFO and isinstance(self._configured_processors[-1], JsonRenderer)
        if self._direct:
            self._write = logger._logger.info  # noqa: SLF001 - as above

    def __call__(self, event_id: str, fields: dict[str, str | float | None]) -> None:
        """Write the line; `fields` in this order."""
        if not self._is_ready:
            self._prepare()
        if not self._direct or self._processors != self._configured_processors or _has_context():
            self._logger.info(self._message, event_id=event_id, **fields)
            return
        line = {
            "timestamp": self._timestamp.now(),
            "level": "info",
            "message": self._message,
            "event": event_id,
            **self._bound,
            **fields,
        }
        self._write(self._configured_processors[-1].render_ordered("info", line))


def _has_context() -> bool:
    for variable in copy_context():  # noqa: SIM110 - a generator would take as long as all the rest
        if variable.name.startswith(_CONTEXT_PREFIX):
            return True
    return False
