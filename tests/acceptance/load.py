"""A provider that delivers without a pause, whatever happens to the receiver."""

from __future__ import annotations

import collections
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.support import Sender, completed
from tests.patience import PATIENCE

CONNECTIONS = 6


@dataclass
class Load:
    """A provider with many connections: unique signed deliveries, some twice, each again until it is answered 2xx."""

    rng: random.Random
    per_second: float
    new_job: Callable[[int], str] = "job-{:06}".format
    """Makes the n-th job; its id."""
    base: str = ""
    connections: int = CONNECTIONS
    timeout: float = PATIENCE
    """Seconds until a request counts as unanswered."""
    sent: int = 0
    unanswered: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Job id to the event that the receiver's answer named."""
    duplicates: int = 0
    contradictions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._waiting: collections.deque[str] = collections.deque()
        self._lock = threading.Lock()
        self._more = threading.Event()
        self._over = threading.Event()
        self._made = 0
        self._threads = [threading.Thread(target=self._send, name=f"load-{n}") for n in range(self.connections)]
        self._clock = threading.Thread(target=self._make, name="load-clock")

    def choose_base(self) -> str:
        """The receiver that gets the next delivery."""
        return self.base

    def answered(self, base: str, status: int, retry_after: str | None) -> None:
        """Called in the thread of a connection with each answer of a receiver, at once."""

    def start(self) -> None:
        self._more.set()
        for thread in (*self._threads, self._clock):
            thread.start()

    def no_more(self) -> None:
        """Nothing new from now on; what is not acknowledged is still sent again."""
        self._more.clear()
        self._clock.join()

    @property
    def everything_acknowledged(self) -> bool:
        return len(self.acknowledged) == self._made and not self._waiting

    def stop(self) -> None:
        self._more.clear()
        self._over.set()
        for thread in (*self._threads, self._clock):
            thread.join()

    def _make(self) -> None:
        while self._more.is_set():
            with self._lock:
                job = self.new_job(self._made)
                self._made += 1
            self._waiting.append(job)
            if self.rng.random() < 0.1:  # the same again, at once or a little later
                self._waiting.insert(self.rng.randrange(len(self._waiting) + 1), job)
            self._over.wait(1 / self.per_second)

    def _send(self) -> None:
        with closing(Sender(self.timeout)) as sender:
            while not self._over.is_set():
                try:
                    job = self._waiting.popleft()
                except IndexError:
                    self._over.wait(0.005)
                    continue
                base = self.choose_base()
                answer = sender.send(base, completed(job))
                if answer is not None:
                    self.answered(base, answer[0], sender.retry_after)
                with self._lock:
                    self._note(job, answer)
                if answer is None or answer[0] // 100 != 2:
                    self._waiting.append(job)
                    self._over.wait(0.02)

    def _note(self, job: str, answer: tuple[int, dict[str, Any]] | None) -> None:
        self.sent += 1
        if answer is None:
            self.unanswered += 1
            return
        status, said = answer
        self.statuses[status] += 1
        if status // 100 != 2:
            return
        self.duplicates += said["status"] == "duplicate"
        if self.acknowledged.setdefault(job, said["event"]) != said["event"]:
            self.contradictions.append(f"{job} was {self.acknowledged[job]} and is {said['event']}")
