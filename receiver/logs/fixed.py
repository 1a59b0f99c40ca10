"""A line with the same message and fields each time, made in one step: for what is logged with each delivery or run.

An ordinary call goes through a dozen functions, which find out what is in the line. Here that is known before.
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

    The line is the one that `logger.info` would write. Where the log was set up by other means than
    `receiver.logs.configure`, or not for JSON, or something is bound to the context, `logger.info` writes it.

    Args:
        logger: a logger whose bound values are plain texts. How the log is set up is found out at the first line.
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
        self._processors: list[Any] = logger._processors  # noqa: SLF001 - the one way past them
        # Ours write each info line without more ado: thinning leaves them alone, and then comes the renderer.
        self._usual = list(self._processors)
        threshold = getattr(logger, "threshold", logging.CRITICAL)
        self._direct = threshold <= logging.INFO and isinstance(self._usual[-1], JsonRenderer)
        if self._direct:
            self._write = logger._logger.info  # noqa: SLF001 - likewise

    def __call__(self, *, event_id: str, **fields: str | float | None) -> None:
        """Write the line; `fields` in this order."""
        if not self._is_ready:
            self._prepare()
        if not self._direct or self._processors != self._usual or _has_context():
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
        self._write(self._usual[-1].prepared("info", line))


def _has_context() -> bool:
    context = copy_context()
    return bool(context) and any(variable.name.startswith(_CONTEXT_PREFIX) for variable in context)
