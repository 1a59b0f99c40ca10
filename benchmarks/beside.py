"""A handler that sends messages, measured beside one that does nothing in the same run: see `forward` and `publish`.

The store has the events and their pending runs before `tts-receiver serve` starts, and the messages' receiver is held
back until the measurement starts. It ends when the last run has succeeded: each message is built, sent and confirmed,
and its run's result is written.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from benchmarks import dispatch
from benchmarks.processes import ROOT, receiver

RUNS = 1000
ROUNDS = 3


def measure_handler(
    handler: str, options: str, start: Callable[[], object], root: Path, runs: int
) -> tuple[float, float]:
    """Runs per second of a built-in handler, and the receiver's processor time for each, in microseconds.

    All must succeed at their first attempt.

    Args:
        options: of the handler, as TOML.
        start: lets the messages be accepted.
        root: the checkout.
    """
    files = {"wrapper.py": dispatch.WRAPPER, "case.toml": f'runs = {runs}\nhandlers = ["{handler}"]\n'}
    with receiver(f"[handlers.{handler}]\n{options}", files, "wrapper.py", root) as server:
        used, started = server.cpu_seconds(), time.perf_counter()
        start()
        dispatch.wait_until_all_succeeded(server, runs)
        elapsed, cpu = time.perf_counter() - started, server.cpu_seconds() - used
    return runs / elapsed, cpu / runs * 1e6


def new_table(title: str) -> Table:
    """A table for `add_rows`."""
    table = Table(title=f"{title}: {RUNS:,} runs, {ROUNDS} rounds, medians")
    for column in ("", "per second", "us each", "ratio per second", "ratio of cost"):
        table.add_column(column, justify="left" if not column else "right")
    return table


def add_rows(table: Table, name: str, measure: Callable[[], tuple[float, float]]) -> None:
    """Measure in alternation with a handler that does nothing, and add the medians of both and their ratios."""
    plain, sent = [], []
    for _ in range(ROUNDS):
        plain.append(dispatch.measure(ROOT, runs=RUNS))
        sent.append(measure())
    ratios = [statistics.median(a[kind] / b[kind] for a, b in zip(sent, plain, strict=True)) for kind in (0, 1)]
    for row, figures, rest in (
        ("a handler that does nothing", plain, []),
        (name, sent, [f"{ratio:.2f}" for ratio in ratios]),
    ):
        rate, cost = (statistics.median(values) for values in zip(*figures, strict=True))
        table.add_row(row, f"{rate:,.0f}", f"{cost:,.0f}", *rest)
