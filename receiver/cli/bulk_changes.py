"""Change many rows in small transactions beside a running receiver, and report the progress."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import structlog

from receiver.cli.text_output import echo_error
from receiver.clock import SystemClock
from receiver.engine.pacing import PAUSES, PacedWriter
from receiver.store.database import Database
from receiver.store.processes import anyone_lives


class StatusLine:
    """A status line on a terminal; elsewhere nothing."""

    def __init__(self, words: str) -> None:
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        self._status = console.status(words) if console.is_terminal and sys.stderr.isatty() else None

    @property
    def shown(self) -> AbstractContextManager[Any]:
        """While it is shown."""
        return nullcontext() if self._status is None else self._status

    def update(self, words: str) -> None:
        """Show this text, and how to stop."""
        if self._status is not None:
            self._status.update(f"{words}; Ctrl-C stops")


def run_in_batches(
    database: Database,
    work: Callable[[PacedWriter], Awaitable[None]],
    summary: Callable[[], str],
    resume_hint: Callable[[], str],
    status: AbstractContextManager[Any],
) -> None:
    """Do the work. If it is stopped or fails, finish the current batch, and print what was done.

    Args:
        summary: what is committed so far, without a full stop.
        resume_hint: how to continue after a stop, as a sentence.
        status: what is shown meanwhile.

    Raises:
        KeyboardInterrupt: it was stopped.
        ReceiverError: it failed.
    """

    def pauses() -> float:
        """As long as a receiver's if one may be running; else short, so that one that starts does not wait."""
        return PAUSES if anyone_lives(database.path) else 1.0

    async def run() -> None:
        await work(PacedWriter(database, SystemClock(), pauses))

    database.start()
    try:
        with status, _store_log_on_stderr():
            asyncio.run(run())
    except KeyboardInterrupt:
        echo_error(f"Stopped. {summary()}. {resume_hint()}")
        raise
    except Exception:
        echo_error(f"Not finished. {summary()}. {resume_hint()}")
        raise


@contextmanager
def _store_log_on_stderr() -> Iterator[None]:
    """Log lines on standard error, without the one that repeats why the command fails."""
    before = structlog.get_config()
    structlog.configure(
        processors=[_without_cause, *before["processors"]], logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _without_cause(logger: object, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if line.get("event") == "store.unavailable":
        raise structlog.DropEvent
    return line
