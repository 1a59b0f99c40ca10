"""Notifies systemd of the process's state: ready, alive, stopping.

A message that cannot be sent is logged and dropped, so that it never stops work. Nothing blocks, because the event loop
that accepts deliveries also sends these messages.

The protocol is that of sd_notify(3): https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, MutableMapping

import structlog

from receiver.clock import Clock

log = structlog.get_logger("receiver.serve")

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
SEND_TRIES = 50
SEND_RETRY_SECONDS = 0.1
"""While the manager's queue is full, a message is retried for 5 seconds."""
EXTEND_SECONDS = 60
"""How far a slow start extends its time limit. It does so every sixth of this."""


class Notifier:
    """Notifies the service manager of the process's state; does nothing if there is no manager.

    Args:
        address: the manager's datagram socket: a path, or `@` and an abstract name; empty without a manager.
        watchdog_seconds: the longest time between two keep-alive messages; None if the manager expects none.
    """

    def __init__(self, address: str, watchdog_seconds: float | None, clock: Clock) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_seconds = watchdog_seconds
        self._clock = clock

    async def send(self, *assignments: str) -> None:
        """Send assignments such as `READY=1`, in one message."""
        if not self._address:
            return
        message = "\n".join(assignments).encode()
        why = "its queue is full"
        for _ in range(SEND_TRIES):
            try:
                self._send(message)
            except BlockingIOError:
                await self._wait(SEND_RETRY_SECONDS)
            except (OSError, ValueError) as error:
                why = str(error)
                break
            else:
                return
        log.warning("notify.failed", message_lost=assignments[0], detail=why)

    async def extend_start(self) -> None:
        """Ask for more time at intervals until cancelled: a migration may take long."""
        while True:
            await self._wait(EXTEND_SECONDS / 6)
            await self.send(f"EXTEND_TIMEOUT_USEC={EXTEND_SECONDS * 1_000_000}")

    async def feed_watchdog(self, find_ended: Callable[[], str | None]) -> None:
        """Send keep-alive messages at twice the required rate until cancelled, while all parts work.

        Args:
            find_ended: names a part that has ended and that only a restart brings back; None while all work.
        """
        if self._watchdog_seconds is None:
            return
        is_logged = False
        while True:
            ended = find_ended()
            if ended is None:
                await self.send("WATCHDOG=1")
            elif not is_logged:
                is_logged = True
                log.error("watchdog.not_fed", ended=ended, hint="the service manager restarts the process")
            await self._wait(self._watchdog_seconds / 2)

    async def _wait(self, seconds: float) -> None:
        await self._clock.wait(asyncio.Event(), seconds)

    def _send(self, message: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message, self._address)


def take_notifier(environ: MutableMapping[str, str], pid: int, clock: Clock) -> Notifier:
    """The notifier for the process `pid`, as its environment describes it.

    Args:
        environ: the process's environment; the protocol's variables are removed, so that child processes send nothing.
    """
    address, usec, watched = (environ.pop(name, "") for name in VARIABLES)
    if not address:
        return Notifier("", None, clock)
    microseconds = int(usec) if usec.isascii() and usec.isdecimal() and len(usec) < 20 else 0
    is_watched = watched in ("", str(pid)) and microseconds > 0
    return Notifier(address, microseconds / 1_000_000 if is_watched else None, clock)
