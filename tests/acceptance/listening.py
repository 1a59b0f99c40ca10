"""`tts-receiver listen` as a process, and the local application that it hands events to."""

from __future__ import annotations

import http.server
import json
import re
import signal
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.acceptance.support import Server, Site, clean_environment, completed, deliver, get, until
from tests.patience import PATIENCE

START = "evt_" + "0" * 32


@dataclass
class Received:
    """One request. `connection` counts the connections: each belongs to one process."""

    connection: int
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    def verify(self, secret: str) -> None:
        """Verify the signature with the library of Standard Webhooks, which raises if it is not valid."""
        Webhook(secret).verify(self.body, self.headers)


@dataclass
class Application:
    """A local application on loopback.

    Attributes:
        answer: the status and body of the answer to a request, and further headers.
    """

    port: int = 0
    answer: Callable[[Received], tuple[int, bytes, dict[str, str]]] = lambda received: (204, b"", {})
    received: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        application = self
        lock = threading.Lock()
        self.connections = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                with lock:
                    application.connections += 1
                    self.number = application.connections

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                found = Received(self.number, self.path, headers, body)
                with lock:
                    application.received.append(found)
                status, text, more = application.answer(found)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # the command was killed
                    self.close_connection = True

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="application")
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def ids(self) -> list[str]:
        """The ids of all requests so far."""
        return [found.id for found in list(self.received)]

    def wait_for(self, count: int) -> list[Received]:
        """The requests, once there are so many."""
        until(f"{count} requests", lambda: len(self.received) >= count)
        return list(self.received)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


@contextmanager
def application(**settings: Any) -> Iterator[Application]:
    """A local application, for as long as the block lasts."""
    running = Application(**settings)
    try:
        yield running
    finally:
        running.close()


class Listen:
    """The command, started; its output goes to a file."""

    def __init__(self, site: Site, api: str, forward: str, *arguments: str, **environment: str) -> None:
        self.output = site.folder / f"listen-{len(site.printed)}-{id(self)}.log"
        command = [sys.executable, "-m", "receiver", "listen", "--api", api, "--forward", forward, *arguments]
        state = {"XDG_STATE_HOME": str(site.folder / "state")}
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=site.folder,
                env=clean_environment(**(state | environment)),
            )  # fmt: skip

    def text(self) -> str:
        """All that it has printed."""
        return self.output.read_text()

    def lines(self) -> list[str]:
        """The same as lines, with wrapped ones joined."""
        return re.sub(r"(?<=\S)\n  (?=\S)", " ", self.text()).splitlines()

    def wait_for(self, part: str) -> str:
        """The line with this part, once it is printed."""

        def find() -> str | None:
            over = self.process.poll() is not None
            found = next((line for line in self.lines() if part in line), None)
            if found is None and over:
                raise AssertionError(f"it ended ({self.process.returncode}) without {part!r}:\n{self.text()}")
            return found

        found = until(f"{part!r} in the output", find)
        assert found is not None
        return found

    def stop(self, number: signal.Signals = signal.SIGINT) -> str:
        """Its last line, once it has ended in order."""
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0, self.text()
        return self.lines()[-1]

    def end(self) -> tuple[int, str]:
        """Its exit code and output, once it has ended by itself."""
        return self.process.wait(PATIENCE), self.text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


@contextmanager
def listening(site: Site, api: str, forward: str, *arguments: str, **environment: str) -> Iterator[Listen]:
    """The command, for as long as the block lasts."""
    running = Listen(site, api, forward, *arguments, **environment)
    try:
        yield running
    finally:
        running.kill()
        site.printed.append(running.text())


def send(server: Server, job: str, **data: Any) -> str:
    """Deliver the end of a job; the event's id."""
    answer = deliver(server.public, completed(job, **data))
    assert answer is not None
    assert answer[0] == 202
    return str(answer[1]["event"])


def events_in_order(private: str) -> list[str]:
    """The ids of all events of a receiver, in the order of its stream."""
    status, text = get(f"{private}/v1/stream?after={START}&seconds=0")
    assert status == 200, text
    return re.findall(r"^id: (evt_[0-9a-f]{32})$", text, re.MULTILINE)


def secret_of(site: Site) -> str:
    """The signing secret that the command keeps."""
    return (site.folder / "state" / "tts-receiver" / "listen" / "secret").read_text().strip()


def state_files(site: Site) -> list[Path]:
    """The files of positions."""
    return sorted((site.folder / "state" / "tts-receiver" / "listen").glob("*.json"))


def port_of(url: str) -> int:
    """The port of an address."""
    return urllib.parse.urlsplit(url).port or 80
