"""Run speech in an event loop of its own, with the logs and signals of a command."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import structlog

from receiver import logs
from receiver.cli.stop_signals import stop_signals
from receiver.engine.event_loops import new_loop
from receiver.errors import ReceiverError
from receiver.settings import Settings
from receiver.speech.client import SpeechClient
from receiver.speech.errors import SpeechError

_PRINTED_EVENT = "job.not_submitted"
"""The log event that is dropped because the command prints a sentence instead."""


def run(settings: Settings, source: str, work: Callable[[SpeechClient], Awaitable[int]], *, level: str) -> int:
    """Do the work with a started client; return its exit code, or that of the signal that ended it.

    Ctrl-C, SIGTERM and SIGHUP cancel the work; a second one also cancels the cleanup.

    Args:
        level: of the log lines on standard error.

    Raises:
        ReceiverError: as `SpeechClient`, and errors of the work; without secrets.
    """
    logs.configure(level=level, format=settings.logs.format, secrets=settings.secrets())
    if level == "error":
        structlog.configure(processors=[_drop_printed, *structlog.get_config()["processors"]])
    client = SpeechClient(settings, source)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_run(client, work))
    except ReceiverError as error:
        raise SpeechError(client.redact(str(error)), reason=error.reason) from error


async def _run(client: SpeechClient, work: Callable[[SpeechClient], Awaitable[int]]) -> int:
    task = asyncio.current_task()
    stopped_by: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        stopped_by.append(number)
        if task is not None:
            task.cancel()

    try:
        with stop_signals(stop):
            try:
                await client.start()
                return await work(client)
            finally:
                await client.stop()
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        return 128 + stopped_by[0]


def _drop_printed(logger: object, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if line.get("event") == _PRINTED_EVENT:
        raise structlog.DropEvent
    return line
