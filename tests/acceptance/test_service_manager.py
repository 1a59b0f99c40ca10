"""`serve` under a service manager: what it says, and which sockets it takes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.acceptance.support import Site, get
from tests.patience import PATIENCE


class Manager:
    """What systemd listens on."""

    def __init__(self, site: Site) -> None:
        self.address = str(site.folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(PATIENCE)

    def next(self) -> dict[str, str]:
        """The next message's assignments."""
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@pytest.fixture
def manager(site: Site) -> Iterator[Manager]:
    with closing(Manager(site)) as manager:
        yield manager


def test_it_says_ready_gives_signs_of_life_and_says_stopping(site: Site, manager: Manager) -> None:
    server = site.configure().launch(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="200000")

    ready = manager.next()
    assert ready["READY"] == "1"
    server.wait_until_listening()
    assert server.public in ready["STATUS"]
    assert get(f"{server.private}/readyz")[0] == 200, "ready when it says so"
    assert [manager.next(), manager.next()] == [{"WATCHDOG": "1"}] * 2

    server.send_signal(signal.SIGTERM)
    while "STOPPING" not in (said := manager.next()):
        assert said == {"WATCHDOG": "1"}
    assert int(said["EXTEND_TIMEOUT_USEC"]) >= 20_000_000
    assert server.wait() == 0


def test_a_manager_that_is_gone_stops_nothing(site: Site) -> None:
    server = site.configure().start(NOTIFY_SOCKET=str(site.folder / "nobody"), WATCHDOG_USEC="20000000")
    server.wait_for("notify.failed")
    assert get(f"{server.private}/readyz")[0] == 200
    assert server.stop() == 0


def test_a_passed_private_socket_that_others_reach_is_refused_without_tokens(site: Site) -> None:
    site.configure()
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((host, 0))) for host in ("127.0.0.1", "0.0.0.0")]
        server = site.launch(sockets=sockets)
        assert server.wait(PATIENCE) == 1
    assert "LISTEN_FDS: the private socket: 0.0.0.0 is not a loopback address" in server.text()


def test_a_lone_socket_is_the_public_listener_and_the_private_one_is_as_configured(site: Site) -> None:
    site.configure(server="port = 1\nprivate_port = 0")
    with socket.create_server(("127.0.0.1", 0)) as passed:
        server = site.start(sockets=[passed], LISTEN_FDNAMES="public")
        assert server.public == f"http://127.0.0.1:{passed.getsockname()[1]}"
        assert server.wait_for("sockets.inherited")["address"] == server.public
        assert get(f"{server.private}/readyz")[0] == 200
        assert server.stop() == 0
