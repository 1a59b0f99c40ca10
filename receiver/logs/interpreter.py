"""Logs what Python itself writes to standard error, which could block if nobody reads it."""

from __future__ import annotations

import logging
import sys
import threading

import structlog

log = structlog.get_logger("receiver.process")


def capture_interpreter_errors() -> None:
    """Log warnings, exceptions that end a thread, and those that cannot be caught. Only for a process of our own."""
    logging.captureWarnings(capture=True)
    threading.excepthook = _on_thread
    sys.unraisablehook = _on_unraisable


def _on_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_type is not SystemExit:
        name = failed.thread.name if failed.thread is not None else None
        log.error("thread.failed", thread=name, exc_info=failed.exc_value)


def _on_unraisable(failed: sys.UnraisableHookArgs) -> None:
    log.error("finalizer.failed", object=failed.object, detail=failed.err_msg, exc_info=failed.exc_value)
