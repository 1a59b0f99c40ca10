"""Deliveries at a steady rate to a receiver with a large store, alone or during listings, scrapes or pruning."""

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

from benchmarks.grown_requests import command_line, timed_get
from benchmarks.processes import Server, load

RATE = 100
CONNECTIONS = 8
STARTED_SECONDS = 60.0
"""The longest wait for the last handler's start."""
PRUNE_SECONDS = 180.0
PRUNE_ROUND_SECONDS = 3.0
SCRAPE_SECONDS = 5.0
ROUND_SECONDS = 0.5


@dataclass(frozen=True)
class Latencies:
    """Milliseconds from sending deliveries to their responses and to their handlers' starts.

    Attributes:
        errors: responses other than 202, and handlers that did not start; empty if there are none.
    """

    p50: float = 0.0
    p99: float = 0.0
    start_p99: float = 0.0
    start_max: float = 0.0
    errors: str = ""

    @property
    def intake(self) -> str:
        """As text for the table."""
        return f"{self.p50:.1f} / {self.p99:,.1f} {self.errors}".strip()

    @property
    def start(self) -> str:
        """As text for the table."""
        return f"{self.start_p99:,.1f} / {self.start_max:,.1f} {self.errors}".strip()


def measure_latencies(server: Server, seconds: float) -> Latencies:
    """Send deliveries at a steady rate for some seconds."""
    try:
        result = load(server, max(1, round(RATE * seconds)), CONNECTIONS, RATE)
    except subprocess.SubprocessError as error:
        return Latencies(errors=type(error).__name__)
    refused = [f"{count} x {status}" for status, count in result["statuses"].items() if status != "202"]
    latencies, missing = _starts(server, result["sent"])
    errors = ", ".join([*refused, *([f"{missing} not started"] if missing else [])])
    return Latencies(result["p50_ms"], result["p99_ms"], latencies[int(len(latencies) * 0.99)], latencies[-1], errors)


def _starts(server: Server, sent: dict[str, float]) -> tuple[list[float], int]:
    """Milliseconds until each handler's start, sorted, and the number of handlers that did not start."""
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
def _in_background(functions: Sequence[Callable[[threading.Event], None]]) -> Iterator[None]:
    """Run each function in a thread of its own until the end. Its argument is an event that is set then."""
    stop = threading.Event()
    threads = [threading.Thread(target=function, args=(stop,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def concurrent_lists(server: Server, paths: Sequence[str]) -> Iterator[None]:
    """Send these requests at the same time, again and again, at most twice a second."""
    barrier = threading.Barrier(len(paths))

    def send(path: str, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                barrier.wait()
                timed_get(server, path)
                stop.wait(ROUND_SECONDS)
        except threading.BrokenBarrierError:
            pass
        finally:
            barrier.abort()

    with _in_background([partial(send, path) for path in paths]):
        yield


@contextmanager
def scrapers(server: Server) -> Iterator[None]:
    """Run two scrapers that read the metrics every five seconds, at the same time."""

    def scrape(stop: threading.Event) -> None:
        while not stop.is_set():
            timed_get(server, "/metrics")
            stop.wait(SCRAPE_SECONDS)

    with _in_background([scrape, scrape]):
        yield


def during_prune(root: Path, server: Server, days: float, longest: float = PRUNE_SECONDS) -> tuple[Latencies, str]:
    """Send deliveries while events older than `days` are pruned: the latencies, and the outcome of pruning.

    The latencies are the worst of several rounds; of the medians it is their median. Pruning is stopped after `longest`
    seconds: it goes on with the next prune.
    """
    began = time.perf_counter()
    pruning = subprocess.Popen(**command_line(root, server, ["prune", "--days", f"{days:.4f}", "--yes"]))
    rounds: list[Latencies] = []
    try:
        while not rounds or (pruning.poll() is None and time.perf_counter() - began < longest):
            rounds.append(measure_latencies(server, PRUNE_ROUND_SECONDS))
        seconds = time.perf_counter() - began
        code = pruning.poll()
    finally:
        if pruning.poll() is None:
            pruning.terminate()
        pruning.wait(60)
    worst = Latencies(
        statistics.median(one.p50 for one in rounds),
        max(one.p99 for one in rounds),
        max(one.start_p99 for one in rounds),
        max(one.start_max for one in rounds),
        ", ".join(sorted({one.errors for one in rounds if one.errors})),
    )
    return (
        worst,
        f"within {seconds:.0f} s" if code == 0 else f"exit {code}" if code else f"not within {seconds:.0f} s",
    )
