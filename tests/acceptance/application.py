"""An application that events are forwarded to, as a process of its own: the path `/HOW/NAME` says how it answers.

`python application.py PORT FOLDER [CERTIFICATE AUTHORITY]` listens on loopback, over TLS with client certificates if
the files are given, and prints its port. Each request is written to a file in the folder before it is answered. It uses
only the standard library: it stands for a program that has nothing to do with the receiver.
"""

from __future__ import annotations

import base64
import email.utils
import http.server
import json
import os
import signal
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

WAIT_SECONDS = 7200
BODY = (
    b"\x1b[31mno\r\nroom at https://app.example/orders?token=from-the-application "
    b"or https:\\/\\/app.example\\/other?token=from-the-application "
)


class Application(http.server.ThreadingHTTPServer):
    """The server, and where it writes what it received."""

    daemon_threads = True

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.folder = folder
        self.recording = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Application

    def do_POST(self) -> None:
        """Record the request, and answer by its path."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        how, name = self.path.partition("?")[0].strip("/").split("/")
        record = {"headers": dict(self.headers.items()), "body": base64.b64encode(body).decode()}
        with self.server.recording:
            number = len(list(self.server.folder.glob(f"{name}-*.json")))
            part = self.server.folder / "part"
            part.write_text(json.dumps(record))
            part.rename(self.server.folder / f"{name}-{number}.json")
        getattr(self, how)()

    def accepts(self) -> None:
        """Accept it."""
        self._answer(202, b"thanks")

    def slow(self) -> None:
        """Say nothing until the other side closes the connection."""
        self.connection.recv(1)

    def drips(self) -> None:
        """Accept it, and never end the answer."""
        self.send_response(202)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"once upon a time")
        self.connection.recv(1)

    def moves(self) -> None:
        """Redirect to a path that would accept it."""
        self._answer(
            307, b"", Location=f"http://localhost:{self.server.server_port}/accepts/moved?token=of-the-redirect"
        )

    def garbage(self) -> None:
        """Answer with what is not HTTP."""
        self.wfile.write(b"\x00\xff SSH-2.0 or what\r\n\r\n")

    def compressed(self) -> None:
        """Refuse it in a coding that nobody asked for, and that is not valid."""
        self._answer(500, b"\x1f\x8b not gzip", **{"Content-Encoding": "gzip"})

    def fails(self) -> None:
        """Refuse it, and repeat what was sent."""
        self._answer(500, BODY + str(self.headers).encode())

    def unauthorized(self) -> None:
        """Refuse the token without its scheme, and repeat the path with its query."""
        token = self.headers["Authorization"].partition(" ")[2]
        self._answer(401, f"bad token {token} for you; path {self.path}".encode())

    def unwanted(self) -> None:
        """Never want it."""
        self._answer(410, b"no such order")

    def invalid(self) -> None:
        """Refuse it with a status that the configuration lists."""
        self._answer(422, b"")

    def busy(self) -> None:
        """Ask to wait for some seconds."""
        self._answer(429, b"", **{"Retry-After": str(WAIT_SECONDS)})

    def maintenance(self) -> None:
        """Ask to wait until a time, by a clock that is a day ahead."""
        now = int(time.time()) + 86_400
        self._date = email.utils.formatdate(now, usegmt=True)
        self._answer(503, b"", **{"Retry-After": email.utils.formatdate(now + WAIT_SECONDS, usegmt=True)})

    def dies(self) -> None:
        """Be killed at the first request; accept the next."""
        if not (self.server.folder / "dies-1.json").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        self._answer(200, b"")

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The `Date` of an answer."""
        return getattr(self, "_date", super().date_time_string(timestamp))

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def main(port: str, folder: str, *files: str) -> None:
    """Listen until killed."""
    server = Application(int(port), Path(folder))
    if files:
        certificate, authority = files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
