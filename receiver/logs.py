"""Logs: one JSON object a line, or colours on a terminal; to standard error, with secrets cut out."""

from __future__ import annotations

import atexit
import collections
import io
import logging
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, TextIO

import pydantic_core
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


GATHER_SECONDS = 0.05
"""How long an info line may wait in memory. A process that is killed loses these lines, and nothing else."""


def configure(
    *, level: str = "info", format: str = "auto", secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Set up structlog and the standard library's logging, so that both write the same kind of line.

    Args:
        level: debug, info, warning or error.
        format: `json`, `console`, or `auto` for colours where the stream is a terminal.
        secrets: texts that no line may show.
        stream: where to; standard error if not given.
    """
    stream = stream or sys.stderr
    pretty = format == "console" or (format == "auto" and stream.isatty())
    out: Any = stream if pretty else GatheringStream(stream)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    redact = Redactor(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Our own field `event` is the event's id, so the line's text goes under `message`.
    finish: list[Processor] = [_message]
    if pretty:
        finish.append(structlog.dev.ConsoleRenderer(colors=stream.isatty(), event_key="message"))
    else:
        finish += [_exceptions, structlog.processors.JSONRenderer(serializer=_to_json)]
    finish.append(_redaction(redact))

    structlog.configure(
        processors=[*shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
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


class GatheringStream(io.TextIOBase):
    """Gathers lines for up to `GATHER_SECONDS` and writes them at once: a system call a line costs the intake a tenth.

    A warning or worse is written at once, with all before it. Thread-safe.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._lines: collections.deque[str] = collections.deque()
        self._pending = threading.Event()
        threading.Thread(target=self._write_gathered, name="logs", daemon=True).start()
        atexit.register(self._write)

    def write(self, text: str) -> int:
        """Take a line."""
        self._lines.append(text)
        if '"level":"info"' in text or '"level":"debug"' in text:
            if not self._pending.is_set():
                self._pending.set()
        else:
            self._write()
        return len(text)

    def flush(self) -> None:
        """Nothing: it happens by itself, and at the process's end."""

    def _write_gathered(self) -> None:
        while True:
            self._pending.wait()
            time.sleep(GATHER_SECONDS)
            self._pending.clear()
            self._write()

    def _write(self) -> None:
        with self._lock:
            text = "".join(self._lines.popleft() for _ in range(len(self._lines)))
            if text:
                self._stream.write(text)
                self._stream.flush()


def _to_json(line: Any, **options: Any) -> str:
    try:
        return pydantic_core.to_json(line, fallback=str, inf_nan_mode="strings").decode()
    except ValueError:  # bytes that are no text, an unpaired surrogate, a value that holds itself
        return pydantic_core.to_json({_text(name): _text(value) for name, value in line.items()}).decode()


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else repr(value)).encode(errors="backslashreplace").decode()


def _exceptions(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    if line.get("exc_info"):
        return structlog.processors.format_exc_info(logger, method, line)
    line.pop("exc_info", None)
    return line


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
