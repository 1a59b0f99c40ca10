"""Messages published per second, and the cost of each, beside a handler that does nothing in the same run.

With each broker that is installed: real servers of Debian's packages, as the tests start them, which confirm what is on
disk. The store has the events and their pending runs before `tts-receiver serve` starts, and the broker is stopped
(SIGSTOP) until the measurement starts. It ends when the last run has succeeded: each message is built, published and
confirmed, and its run's result is written. The audio is not fetched (`audio = "none"`).
"""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import dispatch
from benchmarks.processes import ROOT, receiver
from tests import brokers
from tests.integration.publish_support import TARGETS, target

RUNS = 1000
ROUNDS = 3


def measure(broker: brokers.Broker, runs: int = RUNS) -> tuple[float, float]:
    """Messages published per second, and the receiver's processor time for each, in microseconds.

    All must be confirmed at their first attempt.
    """
    goal = target(broker)
    asyncio.run(goal.create())
    # A JSON text is a TOML text, too.
    options = "".join(f"{name} = {json.dumps(value)}\n" for name, value in goal.options(audio="none").items())
    files = {"wrapper.py": dispatch.WRAPPER, "case.toml": f'runs = {runs}\nhandlers = ["publish"]\n'}
    broker.signal(signal.SIGSTOP)
    try:
        with receiver(f"[handlers.publish]\n{options}", files, "wrapper.py") as server:
            used, started = server.cpu_seconds(), time.perf_counter()
            broker.signal(signal.SIGCONT)
            dispatch.wait_until_all_succeeded(server, runs)
            elapsed, cpu = time.perf_counter() - started, server.cpu_seconds() - used
    finally:
        broker.signal(signal.SIGCONT)
    return runs / elapsed, cpu / runs * 1e6


def main() -> None:
    table = Table(title=f"Messages published per second: {RUNS:,} runs, {ROUNDS} rounds, medians")
    for column in ("", "per second", "us each", "ratio per second", "ratio of cost"):
        table.add_column(column, justify="left" if not column else "right")
    for kind in TARGETS:
        missing = brokers.missing(kind)
        if missing is not None:
            table.add_row(f"{kind.__name__}: {missing}")
            continue
        with tempfile.TemporaryDirectory(prefix="tts-receiver-bench-") as folder:
            broker = kind(Path(folder))
            try:
                broker.start()
                add_rows(table, broker)
            finally:
                broker.close()
    Console(width=150).print(table)


def add_rows(table: Table, broker: brokers.Broker) -> None:
    """Measure in alternation, and add the medians of both and their ratios."""
    plain, published = [], []
    for _ in range(ROUNDS):
        plain.append(dispatch.measure(ROOT, runs=RUNS))
        published.append(measure(broker))
    ratios = [statistics.median(a[kind] / b[kind] for a, b in zip(published, plain, strict=True)) for kind in (0, 1)]
    for name, figures, rest in (
        ("a handler that does nothing", plain, []),
        (f"publish to {type(broker).__name__}", published, [f"{ratio:.2f}" for ratio in ratios]),
    ):
        rate, cost = (statistics.median(values) for values in zip(*figures, strict=True))
        table.add_row(name, f"{rate:,.0f}", f"{cost:,.0f}", *rest)


if __name__ == "__main__":
    main()
