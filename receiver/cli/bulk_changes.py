"""Change many rows in small transactions, while a receiver may be running, and report the progress."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection

from receiver.cli.stop_signals import stop_signals
from receiver.cli.text_output import echo_error
from receiver.clock import Clock, SystemClock
from receiver.engine.audit import ChangeRecorder
from receiver.engine.batch_writer import PAUSE_FACTOR, BatchWriter
from receiver.errors import StoreUnavailable
from receiver.model.audit import AuditState
from receiver.store.database import Database

ASK_SECONDS = 5.0
"""How often a command asks whether a receiver is running."""


class BulkProgress(Protocol):
    """What a change of many rows has committed so far."""

    def summary(self) -> str:
        """The counts, without a full stop."""

    def resume_hint(self) -> str:
        """How to continue after a stop, as a sentence."""


class StatusLine:
    """A status line on a terminal; elsewhere nothing."""

    def __init__(self, text: str) -> None:
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        self._status = console.status(text) if console.is_terminal and sys.stderr.isatty() else None

    @property
    def shown(self) -> AbstractContextManager[Any]:
        """A context in which the line is shown."""
        return nullcontext() if self._status is None else self._status

    def update(self, text: str) -> None:
        """Show this text, and how to stop."""
        if self._status is not None:
            self._status.update(f"{text}; Ctrl-C stops")


def run_in_batches(
    database: Database,
    recorder: ChangeRecorder | None,
    count: Callable[[Any], int],
    work: Callable[[BatchWriter], Awaitable[None]],
    progress: BulkProgress,
    status: AbstractContextManager[Any],
) -> None:
    """Do the work. If a signal stops it, or it fails, finish the current batch, and print what was done.

    A second signal changes nothing: the batch is committed in any case, and would not be counted.

    Args:
        recorder: of the whole change (`Auditor.bulk`): each batch adds to it in its transaction. None for one that
            nobody has to account for.
        count: how much a batch has changed, by what its function returned.
        status: a context to work in, such as `StatusLine.shown`.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped it.
        SystemExit: SIGTERM or SIGHUP stopped it.
        ReceiverError: it failed.
    """
    stopped_by: list[signal.Signals] = []
    clock = SystemClock()

    def record(connection: Connection, result: Any) -> None:
        if recorder is not None:
            recorder.add(connection, count(result))

    async def finish(state: AuditState) -> None:
        if recorder is not None:
            await database.write(recorder.finish, state, progress.summary(), beside=True)  # as the batches

    async def run() -> None:
        working = asyncio.ensure_future(work(BatchWriter(database, clock, _PauseFactor(database, clock), record)))

        def stop(number: signal.Signals) -> None:
            if not stopped_by:
                working.cancel()
            stopped_by.append(number)

        with stop_signals(stop):
            try:
                await working
            except (asyncio.CancelledError, Exception) as error:
                stopped = isinstance(error, asyncio.CancelledError)
                with contextlib.suppress(StoreUnavailable):  # then the entry stays unfinished
                    await finish(AuditState.STOPPED if stopped else AuditState.FAILED)
                raise
            await finish(AuditState.COMPLETED)

    database.start()
    try:
        with status, _store_log_on_stderr():
            asyncio.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        echo_error(f"Stopped. {progress.summary()}. {progress.resume_hint()}")
        if stopped_by and stopped_by[0] is not signal.SIGINT:
            sys.exit(128 + stopped_by[0])
        raise KeyboardInterrupt from None
    except Exception:
        echo_error(f"Not finished. {progress.summary()}. {progress.resume_hint()}")
        raise


class _PauseFactor:
    """As in a receiver if one may be running, else short: a receiver that starts meanwhile must not wait for long.

    Asks rarely: a database on a server needs a new connection to answer, which takes longer than a batch.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._ask_at = -math.inf
        self._factor: float = PAUSE_FACTOR

    def __call__(self) -> float:
        if self._clock.monotonic() >= self._ask_at:
            self._factor = PAUSE_FACTOR if self._database.any_process_lives() else 1.0
            self._ask_at = self._clock.monotonic() + ASK_SECONDS
        return self._factor


@contextmanager
def _store_log_on_stderr() -> Iterator[None]:
    """Write log lines to standard error, except the one that repeats the command's own error."""
    before = structlog.get_config()
    structlog.configure(
        processors=[_drop_repeated, *before["processors"]], logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _drop_repeated(logger: object, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if line.get("event") == "store.unavailable":
        raise structlog.DropEvent
    return line
