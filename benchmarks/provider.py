"""A provider of watched jobs for the polling benchmark, with a limit of requests per second.

A process of its own. It counts requests by arrival in a sliding window of one second, and refuses those above the
limit. It reads its options from standard input, prints its port, and prints its counts when standard input ends. It
behaves like finevoice (one request per job) and audixa v3 (with a history of 100 jobs per page, the newest first).
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvloop

WINDOW_SECONDS = 1.0
FAILED_ONE_IN = 50
"""One job in this number fails."""
RUNNING_ONE_IN = 100
"""One job in this number is still running at its first poll."""
WORDS = {"completed": "COMPLETED", "failed": "FAILED", "running": "GENERATING"}


@dataclass
class Account:
    """The account's limit, and counts of its requests."""

    jobs: int
    rate: int
    seconds: float
    """The time for a response."""

    arrivals: list[float] = field(default_factory=list)
    refused: int = 0
    peak: int = 0
    first_polls: dict[str, float] = field(default_factory=dict)
    """When each job was first polled, unix seconds."""
    polls: dict[str, int] = field(default_factory=dict)
    pages: int = 0
    _window: deque[float] = field(default_factory=deque)

    def respond(self, path: str) -> tuple[int, dict[str, Any]]:
        """The status and the document for a request that has just arrived."""
        now = time.time()
        self.arrivals.append(now)
        window = self._window
        window.append(now)
        while window[0] <= now - WINDOW_SECONDS:
            window.popleft()
        self.peak = max(self.peak, len(window))
        if len(window) > self.rate:
            self.refused += 1
            return 429, {"detail": "Too many requests."}
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        if parts.path == "/v3/history":
            return 200, {"history": self._page(int(query["offset"][0]), int(query["limit"][0]), now)}
        if parts.path == "/v3/tts":
            return 200, _row(*self._poll(query["generation_id"][0], now))
        return 200, _task(*self._poll(parts.path.rpartition("/")[2], now))

    def _page(self, offset: int, limit: int, now: float) -> list[dict[str, str]]:
        self.pages += 1
        newest = range(self.jobs - 1 - offset, max(-1, self.jobs - 1 - offset - limit), -1)
        return [_row(*self._poll(job_name(number), now)) for number in newest]

    def _poll(self, job: str, now: float) -> tuple[str, str]:
        self.first_polls.setdefault(job, now)
        times = self.polls[job] = self.polls.get(job, 0) + 1
        number = int(job.rpartition("-")[2])
        if number % RUNNING_ONE_IN == 0 and times == 1:
            return job, "running"
        return job, "failed" if number % FAILED_ONE_IN == 1 else "completed"


def job_name(number: int) -> str:
    """The id of the job of this number; higher is newer."""
    return f"job-{number:06}"


def _row(job: str, state: str) -> dict[str, str]:
    """audixa v3."""
    row = {"generation_id": job, "status": WORDS[state]}
    more = {"completed": {"audio_url": f"https://storage.example/{job}.mp3"}, "failed": {"error_message": "No voice."}}
    return row | more.get(state, {})


def _task(job: str, state: str) -> dict[str, Any]:
    """finevoice, whose HTTP status is 200 whatever the body says."""
    if state == "completed":
        return {"status": 200, "url": f"https://storage.example/{job}.mp3"}
    return {"status": 202} if state == "running" else {"status": 500, "error": "No voice."}


class _Connection(asyncio.Protocol):
    def __init__(self, account: Account) -> None:
        self._account = account
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._buffer.endswith(b"\r\n\r\n"):
            return
        path = self._buffer.split(b" ", 2)[1].decode()
        self._buffer = b""
        status, document = self._account.respond(path)
        body = json.dumps(document).encode()
        more = "Retry-After: 1\r\n" if status == 429 else ""
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        asyncio.get_running_loop().call_later(self._account.seconds, self._transport.write, head.encode() + body)


def main() -> None:
    options = json.loads(sys.stdin.readline())
    account = Account(options["jobs"], options["rate"], options["seconds"])

    async def run() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        server = await loop.create_server(lambda: _Connection(account), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(over.set)), daemon=True).start()
        await over.wait()

    uvloop.run(run())
    stats = {
        "requests": len(account.arrivals),
        "refused": account.refused,
        "peak": account.peak,
        "pages": account.pages,
        "first_polls": account.first_polls,
        "arrivals": account.arrivals,
    }
    print(json.dumps(stats))


if __name__ == "__main__":
    main()
