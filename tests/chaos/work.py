"""What the replicas have to do: handlers that write down what they did, and a provider that delivers to any replica."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.acceptance.load import Load

RunId = tuple[str, str]

HANDLERS = ("in_a_thread", "on_the_loop")
ANSWER_SECONDS = 3.0
"""How long the provider waits for an answer before it delivers again, maybe to another replica."""
CONNECTIONS = 16
TRAP_SECONDS = 1.0
"""How long an acknowledgement of one replica is waited for."""

HANDLERS_FILE = '''
"""Two handlers that write down when they start and when they are done. Some runs take a hundred times longer."""

import asyncio
import json
import os
import time
import zlib
from pathlib import Path

from receiver import Context, JobCompleted, handler

FILE = Path(__file__).parent.parent / "journal"


def note(event: JobCompleted, ctx: Context[None], what: str) -> None:
    line = {"event": event.id, "handler": ctx.handler, "pid": os.getpid(), "what": what}
    file = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, json.dumps(line).encode() + b"\\n")
    finally:
        os.close(file)


def seconds(ctx: Context[None]) -> float:
    number = zlib.crc32(ctx.idempotency_key.encode()) % 1000
    return 2.0 if number < 30 else number / 5000


@handler(on=JobCompleted, attempts=1000)
async def on_the_loop(event: JobCompleted, ctx: Context[None]) -> str:
    if int(event.job_id.rsplit("-", 1)[1]) % 10 == 0:
        await ctx.audio()  # an attempt that is postponed because the store is away is not recorded
    note(event, ctx, "start")
    await asyncio.sleep(seconds(ctx))
    note(event, ctx, "done")
    return ctx.idempotency_key


@handler(on=JobCompleted, attempts=1000)
def in_a_thread(event: JobCompleted, ctx: Context[None]) -> str:
    note(event, ctx, "start")
    time.sleep(seconds(ctx))
    note(event, ctx, "done")
    return ctx.idempotency_key
'''


def journal(file: Path) -> tuple[Counter[RunId], Counter[RunId]]:
    """How often each run's handler started, and how often it was done."""
    counts: dict[str, Counter[RunId]] = {"start": Counter(), "done": Counter()}
    for text in file.read_text().splitlines():
        line = json.loads(text)
        counts[line["what"]][line["event"], line["handler"]] += 1
    return counts["start"], counts["done"]


class SpreadLoad(Load):
    """Delivers to any of the replicas, as a balancer does that does not check their health."""

    def __init__(self, rng: random.Random, per_second: float, addresses: Callable[[], Sequence[str]]) -> None:
        self._addresses = addresses
        self.acknowledged_at: dict[str, float] = {}
        """Replica to the time of its newest acknowledgement, monotonic clock, seconds."""
        self.without_retry_after = 0
        """Answers 503 that did not say when to deliver again."""
        self._trap: tuple[str, Callable[[], None]] | None = None
        self._sprung = threading.Event()
        super().__init__(rng, per_second, connections=CONNECTIONS, timeout=ANSWER_SECONDS)

    def choose_base(self) -> str:
        """A replica, frozen or not; a port that nobody has while there is none."""
        return self.rng.choice([*self._addresses()] or ["http://127.0.0.1:9"])

    def answered(self, base: str, status: int, retry_after: str | None) -> None:
        """Keep what the receiver promised by it; spring the trap."""
        if status // 100 == 2:
            trap = self._trap
            if trap is not None and trap[0] == base:
                self._trap = None
                trap[1]()
                self._sprung.set()
            self.acknowledged_at[base] = time.monotonic()
        elif status == 503 and retry_after is None:
            self.without_retry_after += 1

    def at_an_acknowledgement(self, base: str, action: Callable[[], None]) -> None:
        """Do this at the moment at which that replica acknowledges a delivery; not at all if that takes too long."""
        self._sprung.clear()
        self._trap = base, action
        self._sprung.wait(TRAP_SECONDS)
        self._trap = None
