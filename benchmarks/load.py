"""A load client in a process of its own: signed deliveries over persistent connections, at full speed or a steady rate.

Run it as `python -m benchmarks.load` with its options as JSON on standard input; it prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import time
import uuid
from collections import Counter
from typing import Any

import uvloop


def delivery(job: str, secret: str, t: int, host: str, path: str) -> bytes:
    """One complete HTTP request: a `job.completed` as documented, signed with the standard library."""
    body = json.dumps(
        {
            "event": "job.completed",
            "created_at": "2026-11-21T09:00:00.000Z",
            "data": {
                "job_id": job,
                "status": "completed",
                "audio_url": f"https://storage.example/{job}.wav?X-Goog-Expires=86400&X-Goog-Signature={'0a' * 64}",
                "audio_url_expires_at": "2026-11-22T09:00:00.000Z",
                "audio_endpoint": f"/api/v1/tts/{job}/audio",
                "chars_charged": 412,
                "metadata": {"episode": "12", "user": "benchmark"},
            },
        },
        separators=(",", ":"),
    ).encode()
    signature = hmac.new(secret.encode(), b"%d." % t + body, hashlib.sha256).hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nUser-Agent: benchmark\r\n"
        f"X-TTS-Event: job.completed\r\nX-TTS-Delivery-ID: {uuid.uuid4()}\r\n"
        f"X-TTS-Signature: t={t},v1={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """Sends one request after the other."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self._run.ready(self)

    def send(self, request: bytes) -> None:
        self._sent = time.perf_counter()
        self._run.sent.append(time.time())
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._run.responded(self, head[9:12].decode(), time.perf_counter() - self._sent)

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost(self)


class _Run:
    """All connections of one run, and what they measured."""

    def __init__(self, requests: list[bytes], rate: float | None) -> None:
        self.requests = requests
        self.rate = rate
        self.next = 0
        self.open = 0
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.sent: list[float] = []
        self.idle: list[_Connection] = []
        self.finished = asyncio.Event()

    def ready(self, connection: _Connection) -> None:
        self.idle.append(connection)

    def responded(self, connection: _Connection, status: str, seconds: float) -> None:
        self.statuses[status] += 1
        self.seconds.append(seconds)
        if sum(self.statuses.values()) == len(self.requests):
            self.finished.set()
        elif self.rate is None and self.next < len(self.requests):
            self._send(connection)
        else:
            self.idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        if not self.finished.is_set():
            self.statuses["lost"] += 1
            self.finished.set()

    def _send(self, connection: _Connection) -> None:
        request = self.requests[self.next]
        self.next += 1
        connection.send(request)

    async def execute(self, host: str, port: int, connections: int) -> float:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: _Connection(self), host, port)
        started = time.perf_counter()
        if self.rate is None:
            first, self.idle = self.idle, []
            for connection in first:
                self._send(connection)
        else:
            for number in range(len(self.requests)):
                pause = started + number / self.rate - time.perf_counter()
                if pause > 0:
                    await asyncio.sleep(pause)
                while not self.idle:
                    await asyncio.sleep(0.001)
                self._send(self.idle.pop(0))  # the one idle longest: the server closes idle connections
        await self.finished.wait()
        return time.perf_counter() - started


def main() -> None:
    options = json.loads(sys.stdin.readline())
    now = int(time.time())
    host, port = options["host"], options["port"]
    jobs = [str(uuid.uuid4()) for _ in range(options["requests"])]
    requests = [delivery(job, options["secret"], now, f"{host}:{port}", options["path"]) for job in jobs]

    async def run() -> dict[str, Any]:
        load = _Run(requests, options.get("rate"))
        elapsed = await load.execute(host, port, options["connections"])
        ordered = sorted(load.seconds)
        return {
            "per_second": len(requests) / elapsed,
            "statuses": dict(load.statuses),
            "p50_ms": ordered[len(ordered) // 2] * 1000,
            "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
            "sent": dict(zip(jobs, load.sent, strict=True)) if options.get("rate") else {},
        }

    print(json.dumps(uvloop.run(run())))


if __name__ == "__main__":
    main()
