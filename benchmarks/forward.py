"""Events forwarded per second, and the cost of each, beside a handler that does nothing in the same run.

The store has the events and their pending runs before `tts-receiver serve` starts. The application is a process of its
own (`benchmarks.target`), which holds its responses back until the measurement starts. The measured time, and the
receiver's processor time, end when the last run has succeeded: each message is built, signed, sent and accepted, and
its run's result is written. The audio is not fetched (`audio = "none"`): `benchmarks.fetch` measures that.
`python -m benchmarks.pairs forward OTHER` compares with another checkout.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import dispatch
from benchmarks.processes import ROOT, held_server, receiver

RUNS = 1000
ROUNDS = 3
CONFIG = """
[handlers.forward]
url = "http://127.0.0.1:{port}/speech-events"
secrets = ["whsec_YmVuY2htYXJrLXNlY3JldC1vZi0zMi1ieXRlcy0wMTI="]
audio = "none"
allow_private_addresses = true
"""


def measure(root: Path, runs: int = RUNS) -> tuple[float, float]:
    """Events forwarded per second by the checkout at `root`, and its processor time for each, in microseconds.

    All must be accepted at their first attempt.
    """
    files = {"wrapper.py": dispatch.WRAPPER, "case.toml": f'runs = {runs}\nhandlers = ["forward"]\n'}
    with (
        held_server("benchmarks.target", {}) as target,
        receiver(CONFIG.format(port=target.port), files, "wrapper.py", root) as server,
    ):
        used, started = server.cpu_seconds(), time.perf_counter()
        target.start()
        dispatch.wait_until_all_succeeded(server, runs)
        elapsed, cpu = time.perf_counter() - started, server.cpu_seconds() - used
    if target.stats["messages"] != runs:
        raise SystemExit(f"The application received {target.stats['messages']} of {runs} events.")
    return runs / elapsed, cpu / runs * 1e6


def main() -> None:
    plain, forwarded = [], []
    for _ in range(ROUNDS):
        plain.append(dispatch.measure(ROOT, runs=RUNS))
        forwarded.append(measure(ROOT))
    table = Table(title=f"Events forwarded per second: {RUNS:,} runs, {ROUNDS} rounds, medians")
    for column in ("", "per second", "us each"):
        table.add_column(column, justify="left" if not column else "right")
    for name, figures in (("a handler that does nothing", plain), ("forward", forwarded)):
        rate, cost = (statistics.median(values) for values in zip(*figures, strict=True))
        table.add_row(name, f"{rate:,.0f}", f"{cost:,.0f}")
    ratios = [statistics.median(a[kind] / b[kind] for a, b in zip(forwarded, plain, strict=True)) for kind in (0, 1)]
    table.add_row("ratio", *(f"{ratio:.2f}" for ratio in ratios))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
