"""Strangers at the public listener of a real server: they cost little, and good deliveries get in meanwhile."""

from __future__ import annotations

import resource
import select
import socket
import statistics
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.acceptance.support import (
    Provider,
    Sender,
    Server,
    Site,
    completed,
    deliver,
    get,
    sha256_at_the_origin,
    sha256_of,
    signed_headers,
)
from tests.patience import PATIENCE

MIB = 1 << 20
MAX_GROWTH = 80 * MIB
GOOD_SECONDS = 1.0
"""How long the median of good deliveries may take while strangers are at work; usually some milliseconds."""
MAX_TRIES = 5
TIMES_SLOWER = 50
"""On a loaded machine they take long without strangers, too; so many times that long is allowed then."""


def memory(server: Server, field: str) -> int:
    """A figure of the process's memory, in bytes: VmRSS now, VmHWM the most so far."""
    status = (Path("/proc") / str(server.pid) / "status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


@pytest.fixture
def server(site: Site) -> Server:
    return site.configure(handlers="").start()


def median_of_good_deliveries(server: Server, count: int) -> float:
    """Seconds that signed deliveries take, which are all accepted."""
    seconds = []
    for _ in range(count):
        body = completed(f"job-{uuid.uuid4()}")
        started = time.monotonic()
        answer = deliver(server.public, body)
        seconds.append(time.monotonic() - started)
        assert answer is not None
        assert answer[0] == 202, answer
    return statistics.median(seconds)


@pytest.fixture
def strangers(server: Server) -> Iterator[Strangers]:
    with ExitStack() as stack:
        yield Strangers(server, stack)


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may hold two thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this test needs {wanted} open files, and the system allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Strangers:
    """Connections that are up to no good."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self._server = server
        self._allowed = max(GOOD_SECONDS, TIMES_SLOWER * median_of_good_deliveries(server, 7))
        parts = urllib.parse.urlsplit(server.public)
        self._to = (str(parts.hostname), int(parts.port or 80))
        self._stack = stack

    def assert_good_deliveries(self, count: int = 7) -> None:
        """Signed deliveries are taken, and soon, whatever these do. The machine may be busy for a moment."""
        medians = list[float]()
        while not medians or medians[-1] >= self._allowed:
            assert len(medians) < MAX_TRIES, medians
            medians.append(median_of_good_deliveries(self._server, count))

    def connect(self) -> socket.socket:
        """One connection, without waiting on anything it does."""
        stranger = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # it reads no answers
        stranger.settimeout(PATIENCE)
        stranger.connect(self._to)
        stranger.setblocking(False)
        return stranger

    @staticmethod
    def push(stranger: socket.socket, data: bytes, total: int) -> int:
        """Send the same bytes again and again, up to a total, for as long as they are taken within a moment."""
        sent = 0
        view = memoryview(data)
        while sent < total:
            waiting = select.poll()
            waiting.register(stranger, select.POLLOUT)
            if not waiting.poll(1000):
                break
            try:
                sent += stranger.send(view[sent % len(data) :])
            except OSError:
                break
        return sent

    @staticmethod
    def ended(stranger: socket.socket, seconds: float = PATIENCE) -> bool:
        """Whether the other side ends it in time, whatever it sends before."""
        stranger.setblocking(True)
        stranger.settimeout(seconds)
        try:
            while stranger.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


POST = b"POST /webhooks/aitts HTTP/1.1\r\nHost: a\r\n"


def test_no_upgrade_makes_the_next_delivery_on_its_connection_vanish(site: Site, server: Server) -> None:
    """What a proxy does that keeps its connections to us: a stranger's request, then a provider's delivery."""
    smuggled = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    with closing(Sender()) as connection:
        for number in range(20):
            stranger = connection.send(server.public, smuggled, upgrade)
            assert stranger is not None
            assert stranger[0] == 401
            body = completed(f"after-an-upgrade-{number}")
            assert connection.send(server.public, body, {**upgrade, **signed_headers(body)}) is not None
            answer = connection.send(server.public, body)
            assert answer is not None
            assert (answer[0], answer[1].get("status")) == (202, "duplicate")
    [stored] = site.rows("SELECT count(*) AS events FROM events WHERE job_id LIKE 'after-an-upgrade-%'")
    assert stored["events"] == 20
    assert "uvicorn" not in server.text()  # whose advice on such a request is to install something


def test_bodies_that_do_not_end_hold_little_memory(server: Server, strangers: Strangers) -> None:
    before = memory(server, "VmRSS")
    for number in range(400):
        stranger = strangers.connect()
        head = POST + b"Content-Length: %d\r\n\r\n" % MIB
        strangers.push(stranger, head + b"x" * (MIB - 1 - len(head)), MIB - 1)
        if number % 100 == 99:
            strangers.assert_good_deliveries(3)
    assert memory(server, "VmHWM") - before < MAX_GROWTH


def test_requests_sent_ahead_hold_little_memory(server: Server, strangers: Strangers) -> None:
    before = memory(server, "VmRSS")
    ahead = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 2000
    for _ in range(3):
        strangers.push(strangers.connect(), ahead, 90 * MIB)
    strangers.assert_good_deliveries()
    assert memory(server, "VmHWM") - before < MAX_GROWTH


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (POST + b"X-Long: ", b"a" * 65536),
        (b"POST /", b"a" * 65536),
        (POST, b"X-Many: 1\r\n" * 6000),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Trailer: ", b"a" * 65536),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;ext=", b"a" * 65536),
    ],
    ids=["header", "target", "headers", "trailer", "extension"],
)
def test_what_has_no_end_holds_nothing_up(server: Server, strangers: Strangers, start: bytes, endless: bytes) -> None:
    before = memory(server, "VmRSS")
    stranger = strangers.connect()
    strangers.push(stranger, start, len(start))
    strangers.push(stranger, endless, 4 * MIB)
    strangers.assert_good_deliveries(3)
    strangers.push(stranger, endless, 80 * MIB)
    assert strangers.ended(stranger)
    assert memory(server, "VmHWM") - before < MAX_GROWTH


@pytest.mark.usefixtures("many_files")
def test_many_half_sent_heads_hold_little_memory(server: Server, strangers: Strangers) -> None:
    before = memory(server, "VmRSS")
    for _ in range(1800):
        stranger = strangers.connect()
        strangers.push(stranger, POST + b"X-Long: " + b"a" * 60_000, 60_000)
    strangers.assert_good_deliveries()
    assert memory(server, "VmHWM") - before < MAX_GROWTH


def test_a_refusal_can_be_read_after_twenty_megabytes(server: Server) -> None:
    for _ in range(10):
        answer = deliver(server.public, b"x" * 20_000_000)
        assert answer == (413, {"error": "too_large"})


@pytest.mark.usefixtures("many_files")
def test_silent_connections_take_neither_deliveries_nor_audio_their_descriptors(site: Site, provider: Provider) -> None:
    site.configure(base_url=provider.sim.base_url, handlers="[handlers.save_audio]")
    server = site.start(files=1024)
    line = server.wait_for("connections.limit_lowered")
    assert line["limit"] == 1024
    with ExitStack() as stack:
        strangers = Strangers(server, stack)
        silent = [strangers.connect() for _ in range(1100)]
        for stranger in silent[::2]:
            strangers.push(stranger, POST, len(POST))
        strangers.assert_good_deliveries()
        job = provider.completed_job()
        answer = deliver(server.public, completed(job.id))
        assert answer is not None
        site.wait_for_state(answer[1]["event"], "save_audio", "succeeded")
        [file] = site.final_files()
        assert sha256_of(file) == sha256_at_the_origin(job)
        assert get(server.public + "/livez")[0] == 200
        assert next(server.lines("connection.cut"))["reason"] == "connection_limit"
