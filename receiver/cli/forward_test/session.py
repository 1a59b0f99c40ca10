"""Runs `forward-test`: the application, what it prints, and its counts at the end."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

from receiver.cli.forward_test.application import ForwardTarget, Receipt, Refusal, signing_keys
from receiver.cli.forward_test.lines import receipt_line, refusal_lines
from receiver.cli.forward_test.target import ForwardTestError, Target, introduction
from receiver.cli.stop_signals import stop_signals
from receiver.cli.text_output import echo
from receiver.simulator.serving import LoopServer


class Session:
    """The running application, and what it has received."""

    def __init__(self, target: Target, config: Path, status: int) -> None:
        self._target = target
        self._config = config
        self._status = status
        self._events = self._duplicates = self._refused = 0
        self._stop = asyncio.Event()
        self._failure: OSError | None = None

    async def run(self, port: int) -> None:
        """Listen until SIGINT or SIGTERM.

        Raises:
            ForwardTestError: it cannot listen.
            OSError: standard output cannot be written.
        """
        target = self._target
        keys = signing_keys(target.scheme, target.secrets)
        application = ForwardTarget(target.scheme, keys, self._report, self._status)
        server = _server(application, target.host, port)
        with stop_signals(lambda signal: self._stop.set()):
            async with server:
                self._introduce(server.url)
                await self._stop.wait()
        if self._failure is not None:
            raise self._failure
        echo(
            f"Stopped. Events: {self._events:,}, duplicates: {self._duplicates:,}, refused requests: {self._refused:,}."
        )

    def _report(self, what: Receipt | Refusal) -> None:
        if isinstance(what, Refusal):
            self._refused += 1
            lines = refusal_lines(what)
        else:
            self._events += what.count == 1
            self._duplicates += what.count > 1
            lines = [receipt_line(what)]
        try:
            echo(*lines)
        except OSError as error:  # the output is closed or full: the command ends with its error
            self._failure = error
            self._stop.set()

    def _introduce(self, url: str) -> None:
        echo(*introduction(self._target, url, self._config))
        echo(f"Each verified event is printed and answered {self._status}. Ctrl-C stops.", "")


def _server(application: ForwardTarget, host: str, port: int) -> LoopServer:
    try:
        return LoopServer(application.app, host, port)
    except OSError as error:
        hints = {
            errno.EADDRINUSE: "Another program listens there: stop it, or name another --port.",
            errno.EACCES: "Ports below 1024 need privileges: name a higher one with --port, and in the handler's url.",
        }
        hint = hints.get(error.errno or 0, "Name another --port.")
        raise ForwardTestError(f"Cannot listen on {host} port {port}: {error.strerror}. {hint}") from None
