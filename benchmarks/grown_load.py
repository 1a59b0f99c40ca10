"""Deliveries at a steady rate to a receiver whose store has grown, alone or beside listings, scrapers or pruning."""

from __future__ import annotations

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.grown_requests import answered, command_line
from benchmarks.processes import Server, load

RATE = 100
CONNECTIONS = 8
STARTED_SECONDS = 60.0
"""How long the last handler's start is waited for."""
PRUNE_SECONDS = 180.0
PRUNE_ROUND_SECONDS = 3.0
SCRAPE_SECONDS = 5.0
ROUND_SECONDS = 0.5


@dataclass(frozen=True)
class Waits:
    """How long deliveries waited, in milliseconds: for their answer, and for their handler's start.

    Attributes:
        trouble: what was not answered 202, or did not start; empty if nothing.
    """

    p50: float = 0.0
    p99: float = 0.0
    start_p99: float = 0.0
    start_max: float = 0.0
    trouble: str = ""

    @property
    def intake(self) -> str:
        """As it is shown."""
        return f"{self.p50:.1f} / {self.p99:,.1f} {self.trouble}".strip()

    @property
    def start(self) -> str:
        """As it is shown."""
        return f"{self.start_p99:,.1f} / {self.start_max:,.1f} {self.trouble}".strip()


def waits(server: Server, seconds: float) -> Waits:
    """Deliver at a steady rate for so long."""
    try:
        result = load(server, max(1, round(RATE * seconds)), CONNECTIONS, RATE)
    except subprocess.SubprocessError as error:
        return Waits(trouble=type(error).__name__)
    refused = [f"{count} x {status}" for status, count in result["statuses"].items() if status != "202"]
    took, missing = _starts(server, result["sent"])
    trouble = ", ".join([*refused, *([f"{missing} not started"] if missing else [])])
    return Waits(result["p50_ms"], result["p99_ms"], took[int(len(took) * 0.99)], took[-1], trouble)


def _starts(server: Server, sent: dict[str, float]) -> tuple[list[float], int]:
    """Milliseconds until each handler's start, in order, and how many did not start."""
    deadline = time.monotonic() + STARTED_SECONDS
    while True:
        lines = (server.folder / "started.jsonl").read_text().splitlines()
        started = dict(json.loads(one) for one in lines if one.endswith("]"))
        missing = len(sent.keys() - started.keys())
        if not missing or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return sorted((started[job] - at) * 1000 for job, at in sent.items() if job in started) or [0.0], missing


@contextmanager
def _meanwhile(functions: Sequence[Callable[[threading.Event], None]]) -> Iterator[None]:
    """Each function in a thread of its own until the end; it is handed the event that says so."""
    ending = threading.Event()
    threads = [threading.Thread(target=function, args=(ending,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()


@contextmanager
def lists_at_a_time(server: Server, paths: Sequence[str]) -> Iterator[None]:
    """All these requests at once, and again as soon as all are answered."""
    together = threading.Barrier(len(paths))

    def ask(path: str, ending: threading.Event) -> None:
        try:
            while not ending.is_set():
                together.wait()
                answered(server, path)
                ending.wait(ROUND_SECONDS)
        except threading.BrokenBarrierError:
            pass
        finally:
            together.abort()

    with _meanwhile([partial(ask, path) for path in paths]):
        yield


@contextmanager
def scrapers(server: Server) -> Iterator[None]:
    """Two scrapers that read the metrics every five seconds, at the same moment."""

    def scrape(ending: threading.Event) -> None:
        while not ending.is_set():
            answered(server, "/metrics")
            ending.wait(SCRAPE_SECONDS)

    with _meanwhile([scrape, scrape]):
        yield


def during_prune(root: Path, server: Server, days: float) -> tuple[Waits, str]:
    """Deliver while the events older than `days` are pruned: the waits, and what became of pruning.

    The worst of rounds of some seconds each; of the medians their median.
    """
    began = time.perf_counter()
    pruning = subprocess.Popen(**command_line(root, server, ["prune", "--days", f"{days:.4f}", "--yes"]))
    rounds: list[Waits] = []
    try:
        while not rounds or (pruning.poll() is None and time.perf_counter() - began < PRUNE_SECONDS):
            rounds.append(waits(server, PRUNE_ROUND_SECONDS))
        took = time.perf_counter() - began
        code = pruning.poll()
    finally:
        if pruning.poll() is None:
            pruning.terminate()
        pruning.wait(60)
    worst = Waits(
        statistics.median(one.p50 for one in rounds),
        max(one.p99 for one in rounds),
        max(one.start_p99 for one in rounds),
        max(one.start_max for one in rounds),
        ", ".join(sorted({one.trouble for one in rounds if one.trouble})),
    )
    return worst, f"within {took:.0f} s" if code == 0 else f"exit {code}" if code else f"not within {took:.0f} s"
