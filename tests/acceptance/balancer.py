"""A small load balancer: kept connections to each upstream, a health check, and nothing is sent twice.

It notices late that an upstream is to get nothing more: after so many further requests, not after some time, so that a
test sees the same on any machine.
"""

from __future__ import annotations

import http.client
import http.server
import itertools
import json
import select
import socket
import threading
from collections import Counter
from typing import Any

from tests.acceptance.support import get
from tests.patience import PATIENCE

CHECK_SECONDS = 0.05
HEADERS = ("Content-Type", "X-TTS-Signature", "X-TTS-Event", "X-TTS-Delivery-ID")


class Balancer:
    """It passes each POST to the next upstream whose `/readyz` was 200.

    No request is sent again, not even if the connection was refused. A connection that ended while it was kept is
    opened again.

    Args:
        late: how many requests an upstream still gets after a check has found that it is not ready.

    Attributes:
        passed: requests that each upstream answered.
    """

    def __init__(self, *upstreams: str, late: int) -> None:
        self.passed: Counter[str] = Counter()
        self._upstreams = upstreams
        self._ready: set[str] = set()
        self._late = late
        self._since_check: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._turn = itertools.count()
        self._over = threading.Event()
        self._kept = threading.local()
        self._opened: list[http.client.HTTPConnection] = []
        balancer = self

        class Front(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, text = balancer.deliver(self.path, body, {name: self.headers[name] for name in HEADERS})
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._threads = [
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}),
            *(threading.Thread(target=self._check, args=(upstream,)) for upstream in upstreams),
        ]
        for thread in self._threads:
            thread.start()

    def is_ready(self, upstream: str) -> bool:
        """Whether it sends to this upstream."""
        return upstream in self._ready

    def has_left(self, upstream: str) -> bool:
        """Whether it sends to this upstream no more, and has every answer from there."""
        with self._lock:
            return upstream not in self._ready and not self._under_way[upstream]

    def deliver(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and text of an upstream's answer; 502 for none, 503 without an upstream that is ready."""
        upstream = self._choose()
        if upstream is None:
            return 503, b"{}"
        connection = None
        try:
            connection = self._connection(upstream)
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            if connection is not None:
                connection.close()
            return 502, json.dumps({"detail": repr(error)}).encode()
        finally:
            with self._lock:
                self._under_way[upstream] -= 1
        self.passed[upstream] += 1
        return answer.status, text

    def _choose(self) -> str | None:
        """The next upstream that is ready."""
        with self._lock:
            first = next(self._turn)
            for n in range(len(self._upstreams)):
                upstream = self._upstreams[(first + n) % len(self._upstreams)]
                if upstream in self._ready:
                    self._under_way[upstream] += 1
                    if upstream in self._since_check:
                        self._since_check[upstream] += 1
                        if self._since_check[upstream] == self._late:
                            self._ready.discard(upstream)
                    return upstream
        return None

    def _connection(self, upstream: str) -> http.client.HTTPConnection:
        kept: dict[str, http.client.HTTPConnection] = self._kept.__dict__.setdefault("connections", {})
        connection = kept.get(upstream)
        if connection is None:
            connection = kept[upstream] = http.client.HTTPConnection(upstream.removeprefix("http://"), timeout=PATIENCE)
            self._opened.append(connection)
        elif connection.sock is not None and _has_ended(connection.sock):
            connection.close()
        if connection.sock is None:  # new, or ended by either side
            connection.connect()
        return connection

    def _check(self, upstream: str) -> None:
        while not self._over.wait(CHECK_SECONDS):
            try:
                ready = get(f"{upstream}/readyz")[0] == 200
            except (OSError, http.client.HTTPException):
                ready = False
            with self._lock:
                if ready:
                    self._ready.add(upstream)
                    self._since_check.pop(upstream, None)
                elif upstream in self._ready:
                    self._since_check.setdefault(upstream, 0)

    def close(self) -> None:
        """Stop it."""
        self._over.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._server.server_close()
        for connection in self._opened:
            connection.close()


def _has_ended(kept: socket.socket) -> bool:
    """Whether the other side has closed it: nothing else is to be read between two requests."""
    poll = select.poll()
    poll.register(kept, select.POLLIN)
    return bool(poll.poll(0))
