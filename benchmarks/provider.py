"""A provider of watched jobs, for the polling benchmark: it allows so many requests a second and refuses the rest.

A process of its own. It counts by arrival, in a window of one second that slides: what stands in the window at a
request's arrival, that request included, is held against the limit. It reads its orders from standard input, prints
its port, and when standard input ends what it saw. It speaks finevoice's language (a question a job) and audixa's v3
(with a history of 100 jobs a page, the newest first).
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
"""One job in so many ends badly."""
RUNNING_ONE_IN = 100
"""One job in so many is still running when it is first asked about."""
WORDS = {"completed": "COMPLETED", "failed": "FAILED", "running": "GENERATING"}


@dataclass
class Account:
    """What the one customer may do, and what he did."""

    jobs: int
    rate: int
    seconds: float
    """How long an answer takes."""

    arrivals: list[float] = field(default_factory=list)
    refused: int = 0
    highest: int = 0
    first: dict[str, float] = field(default_factory=dict)
    """When each job was first asked about, unix seconds."""
    asked: dict[str, int] = field(default_factory=dict)
    pages: int = 0
    _window: deque[float] = field(default_factory=deque)

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and document for a request that has just arrived."""
        now = time.time()
        self.arrivals.append(now)
        window = self._window
        window.append(now)
        while window[0] <= now - WINDOW_SECONDS:
            window.popleft()
        self.highest = max(self.highest, len(window))
        if len(window) > self.rate:
            self.refused += 1
            return 429, {"detail": "Too many requests."}
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        if parts.path == "/v3/history":
            return 200, {"history": self._page(int(query["offset"][0]), int(query["limit"][0]), now)}
        if parts.path == "/v3/tts":
            return 200, _row(*self._ask(query["generation_id"][0], now))
        return 200, _task(*self._ask(parts.path.rpartition("/")[2], now))

    def _page(self, offset: int, limit: int, now: float) -> list[dict[str, str]]:
        self.pages += 1
        newest = range(self.jobs - 1 - offset, max(-1, self.jobs - 1 - offset - limit), -1)
        return [_row(*self._ask(job_name(number), now)) for number in newest]

    def _ask(self, job: str, now: float) -> tuple[str, str]:
        self.first.setdefault(job, now)
        times = self.asked[job] = self.asked.get(job, 0) + 1
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
        status, document = self._account.answer(path)
        body = json.dumps(document).encode()
        more = "Retry-After: 1\r\n" if status == 429 else ""
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        asyncio.get_running_loop().call_later(self._account.seconds, self._transport.write, head.encode() + body)


def main() -> None:
    orders = json.loads(sys.stdin.readline())
    account = Account(orders["jobs"], orders["rate"], orders["seconds"])

    async def run() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        server = await loop.create_server(lambda: _Connection(account), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(over.set)), daemon=True).start()
        await over.wait()

    uvloop.run(run())
    saw = {
        "requests": len(account.arrivals),
        "refused": account.refused,
        "highest": account.highest,
        "pages": account.pages,
        "first": account.first,
        "arrivals": account.arrivals,
    }
    print(json.dumps(saw))


if __name__ == "__main__":
    main()
