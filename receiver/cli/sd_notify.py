"""Notifies systemd of the process's state: ready, alive, stopping.

Nothing here stops work: a message that cannot be sent is logged and dropped. Nothing blocks either, since the loop that
takes deliveries is the one that feeds the watchdog.

The protocol is that of sd_notify(3): https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping

import structlog

log = structlog.get_logger("receiver.serve")

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
SEND_TRIES = 50
SEND_RETRY_SECONDS = 0.1
"""A manager that is busy, so that its queue is full, is tried again for 5 seconds."""
EXTEND_SECONDS = 60
"""By how much a slow start extends its time limit; repeated every sixth of it."""


class Notifier:
    """Notifies the service manager of the process's state; does nothing if there is no manager.

    Args:
        address: of the manager's datagram socket: a path, or `@` and an abstract name.
        watchdog_seconds: how long the manager waits between two signs of life; None if it does not watch.
    """

    def __init__(
        self,
        address: str = "",
        watchdog_seconds: float | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_seconds = watchdog_seconds
        self._sleep = sleep

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
                await self._sleep(SEND_RETRY_SECONDS)
            except (OSError, ValueError) as error:
                why = str(error)
                break
            else:
                return
        log.warning("notify.failed", message_lost=assignments[0], detail=why)

    async def extend_start(self) -> None:
        """Ask for more time, again and again, until cancelled: a migration may take long."""
        while True:
            await self._sleep(EXTEND_SECONDS / 6)
            await self.send(f"EXTEND_TIMEOUT_USEC={EXTEND_SECONDS * 1_000_000}")

    async def feed_watchdog(self, find_ended: Callable[[], str | None]) -> None:
        """Give signs of life at twice the asked rate until cancelled, as long as everything works.

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
            await self._sleep(self._watchdog_seconds / 2)

    def _send(self, message: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message, self._address)


def take_notifier(environ: MutableMapping[str, str], pid: int) -> Notifier:
    """The notifier for the process `pid`, as its environment describes it.

    Args:
        environ: the process's environment; the protocol's variables are removed, so that child processes send nothing.
    """
    address, usec, watched = (environ.pop(name, "") for name in VARIABLES)
    if not address:
        return Notifier()
    microseconds = int(usec) if usec.isascii() and usec.isdecimal() and len(usec) < 20 else 0
    is_watched = watched in ("", str(pid)) and microseconds > 0
    return Notifier(address, microseconds / 1_000_000 if is_watched else None)
