"""What a service manager hears, over a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from receiver.cli.sd_notify import SEND_TRIES, Notifier, take_notifier
from tests.clocks import CallbackClock, SetClock

pytestmark = pytest.mark.anyio


class Stop(Exception):
    """Ends a loop that has no other end."""


class StoppingClock(SetClock):
    """Raises at the wait of this number."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self._waits = waits

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        await super().wait(wake, seconds)
        if len(self.waited) >= self._waits:
            raise Stop


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The manager's socket, and its address as the environment has it."""
    abstract = f"@tts-receiver-test-{os.getpid()}"
    address = str(tmp_path / "notify") if request.param == "path" else abstract
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(address.replace("@", "\0", 1) if request.param == "abstract" else address)
        manager.setblocking(False)
        yield manager, address


def messages(manager: socket.socket) -> list[str]:
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(manager.recv(4096).decode())
    return found


async def test_the_manager_hears_what_is_sent(manager: tuple[socket.socket, str]) -> None:
    await Notifier(manager[1], None, SetClock()).send("READY=1", "STATUS=Takes deliveries")
    assert messages(manager[0]) == ["READY=1\nSTATUS=Takes deliveries"]


async def test_without_a_manager_nothing_is_sent() -> None:
    notifier = take_notifier({}, 1, SetClock())
    with capture_logs() as logs:
        await notifier.send("READY=1")
        await notifier.feed_watchdog(lambda: None)
    assert logs == []


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody-listens-here", "vsock:2:1", "/a\0b", "x" * 200])
async def test_what_cannot_be_said_is_logged_and_dropped(address: str) -> None:
    with capture_logs() as logs:
        await Notifier(address, None, SetClock()).send("READY=1")
    (line,) = logs
    assert (line["event"], line["message_lost"]) == ("notify.failed", "READY=1")


async def test_a_manager_that_is_busy_is_tried_again_and_never_waited_for(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(address)
        filling = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with closing(filling), suppress(BlockingIOError):
            filling.setblocking(False)
            while True:
                filling.sendto(b"another service's", address)
        pauses = 0

        async def sleep(seconds: float) -> None:
            nonlocal pauses
            pauses += 1
            if pauses == 2:
                manager.recv(100)

        clock = CallbackClock(sleep=sleep)

        with capture_logs() as logs:
            await Notifier(address, None, clock).send("READY=1")
            assert (pauses, logs) == (2, [])
            await Notifier(address, None, clock).send("STOPPING=1")
        assert pauses == 2 + SEND_TRIES
        assert logs[0]["detail"] == "its queue is full"


async def test_the_watchdog_is_fed_at_half_its_time_for_as_long_as_all_works(
    manager: tuple[socket.socket, str],
) -> None:
    clock = StoppingClock(4)
    notifier = Notifier(manager[1], 30.0, clock)
    ended = iter([None, None, "dispatcher", "dispatcher"])
    with capture_logs() as logs, suppress(Stop):
        await notifier.feed_watchdog(lambda: next(ended))
    assert clock.waited == [15.0] * 4
    assert messages(manager[0]) == ["WATCHDOG=1"] * 2
    assert [(line["event"], line["ended"]) for line in logs] == [("watchdog.not_fed", "dispatcher")]


@pytest.mark.parametrize(
    ("environ", "feeds"),
    [
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "7"}, True),
        ({"WATCHDOG_USEC": "20000000"}, True),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "8"}, False),
        ({"WATCHDOG_USEC": "0", "WATCHDOG_PID": "7"}, False),
        ({"WATCHDOG_USEC": "soon", "WATCHDOG_PID": "7"}, False),
        ({"WATCHDOG_USEC": "9" * 5000, "WATCHDOG_PID": "7"}, False),
        ({}, False),
    ],
)
async def test_only_the_watched_process_feeds_and_no_child_finds_the_manager(
    manager: tuple[socket.socket, str], environ: dict[str, str], feeds: bool
) -> None:
    given = {"NOTIFY_SOCKET": manager[1], "HOME": "/"} | environ
    notifier = take_notifier(given, 7, SetClock())
    assert given == {"HOME": "/"}
    feeding = asyncio.create_task(notifier.feed_watchdog(lambda: None))
    await asyncio.sleep(0)
    feeding.cancel()
    with suppress(asyncio.CancelledError):
        await feeding
    assert messages(manager[0]) == (["WATCHDOG=1"] if feeds else [])


async def test_a_long_start_asks_for_more_time_before_it_is_over(manager: tuple[socket.socket, str]) -> None:
    clock = StoppingClock(3)
    with suppress(Stop):
        await Notifier(manager[1], None, clock).extend_start()
    assert clock.waited == [10.0] * 3
    assert messages(manager[0]) == ["EXTEND_TIMEOUT_USEC=60000000"] * 2
