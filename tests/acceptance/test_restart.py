"""A restart costs no delivery: the listening sockets outlive the process, as a socket unit of systemd keeps them.

The process is replaced twice under load, directly and through every proxy that is installed, with their configurations
as the how-to shows them.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.proxies import PROXIES, WEBHOOK, Client, shown
from tests.acceptance.support import Sender, Site, completed, deliver, signed_headers, until

DELIVERIES_PER_SECOND = 50
SENDERS = 3
"""Connections of each way."""
RESTARTS = 2
BEFORE_RESTART = 16
"""Deliveries of each way before the next restart, and after the last."""

Send = Callable[[bytes], int | None]
"""Deliver a body: the status of its answer, None without a whole one."""
Open = Callable[[], AbstractContextManager[Send]]
"""Open a connection to deliver on."""


@dataclass
class Way:
    """How deliveries come in, and what they were answered."""

    answers: dict[str, int | None] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, int | None]:
        """Deliveries that were not answered 202; None: there was no whole answer."""
        return {job: status for job, status in self.answers.items() if status != 202}


@contextmanager
def kept(port: int) -> Iterator[Send]:
    """To the receiver itself over a connection that is kept."""
    with closing(Sender()) as sender:

        def send(body: bytes) -> int | None:
            sender.close_if_ended()
            return _status(sender.send(f"http://127.0.0.1:{port}", body))

        yield send


@contextmanager
def fresh(port: int) -> Iterator[Send]:
    """To the receiver itself, each over a connection of its own."""
    yield lambda body: _status(deliver(f"http://127.0.0.1:{port}", body))


@contextmanager
def proxied(port: int, certificate: Path) -> Iterator[Send]:
    """To a proxy, as a provider does."""
    with closing(Client(port, certificate)) as client:
        yield lambda body: client.ask("POST", WEBHOOK, signed_headers(body), body)[0]


def _status(answer: tuple[int, object] | None) -> int | None:
    return None if answer is None else answer[0]


class Load:
    """Senders on all ways, together at the rate."""

    def __init__(self) -> None:
        self.ways: dict[str, Way] = {}
        self._senders: list[tuple[Way, str, Open]] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, name: str, open_way: Open) -> None:
        """Another way for deliveries to come in."""
        way = self.ways[name] = Way()
        self._senders += [(way, f"{name}-{number}", open_way) for number in range(SENDERS)]

    def start(self) -> None:
        """Begin to send."""
        self._threads = [threading.Thread(target=self._send, args=sender) for sender in self._senders]
        for thread in self._threads:
            thread.start()

    def run_on(self) -> None:
        """Wait until each way has had some more answers."""
        goals = [(way, len(way.answers) + BEFORE_RESTART) for way in self.ways.values()]
        until("more answers on each way", lambda: all(len(way.answers) >= goal or way.failed for way, goal in goals))

    def stop(self) -> None:
        """End after the deliveries on their way."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, way: Way, name: str, open_way: Open) -> None:
        pause = len(self._senders) / DELIVERIES_PER_SECOND
        number = 0
        with open_way() as send:
            while not self._over.wait(pause):
                job = f"{name}-{number}"
                number += 1
                try:
                    way.answers[job] = send(completed(job))
                except (OSError, ValueError, IndexError):
                    way.answers[job] = None
                    return


def test_no_delivery_fails_or_is_lost_while_the_process_is_replaced(site: Site, certificate: Path) -> None:
    site.configure(server="port = 1\nprivate_port = 1")  # not used: the sockets are passed
    installed = [proxy for proxy in PROXIES if proxy.find()]
    load = Load()
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024)) for _ in range(2)]
        stack.callback(site.close)
        port = sockets[0].getsockname()[1]
        load.add("kept", partial(kept, port))
        load.add("fresh", partial(fresh, port))
        for proxy in installed:
            running = proxy.running(shown(proxy), f"127.0.0.1:{port}", site.folder / proxy.name, certificate)
            load.add(proxy.name, partial(proxied, stack.enter_context(running), certificate))
        server = site.start(sockets=sockets)
        assert server.public == f"http://127.0.0.1:{port}"
        stack.callback(load.stop)
        load.start()
        for _ in range(RESTARTS):
            load.run_on()
            assert server.stop() == 0
            server = site.start(sockets=sockets)
        load.run_on()
        load.stop()
        assert server.stop() == 0

    stored = Counter(row["job_id"] for row in site.rows("SELECT job_id FROM events"))
    assert {name: way.failed for name, way in load.ways.items() if way.failed} == {}
    assert [job for way in load.ways.values() for job in way.answers if stored[job] != 1] == []
    if missing := [proxy.name for proxy in PROXIES if proxy not in installed]:
        pytest.skip(f"passed, and not tried through {', '.join(missing)}: not installed here")
