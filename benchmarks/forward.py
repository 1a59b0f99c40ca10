"""Events forwarded per second, and the cost of each, beside a handler that does nothing in the same run.

The application is a process of its own (`benchmarks.target`), which holds its responses back until the measurement
starts: see `benchmarks.beside`. The audio is not fetched (`audio = "none"`): `benchmarks.fetch` measures that.
`python -m benchmarks.pairs forward OTHER` compares with another checkout.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.beside import RUNS, add_rows, measure_handler, new_table
from benchmarks.processes import ROOT, held_server

OPTIONS = """
url = "http://127.0.0.1:{port}/speech-events"
secrets = ["whsec_YmVuY2htYXJrLXNlY3JldC1vZi0zMi1ieXRlcy0wMTI="]
audio = "none"
allow_private_addresses = true
"""


def measure(root: Path, runs: int = RUNS) -> tuple[float, float]:
    """Events forwarded per second by the checkout at `root`, and its processor time for each, in microseconds.

    All must be accepted at their first attempt.
    """
    with held_server("benchmarks.target", {}) as target:
        figures = measure_handler("forward", OPTIONS.format(port=target.port), target.start, root, runs)
    if target.stats["messages"] != runs:
        raise SystemExit(f"The application received {target.stats['messages']} of {runs} events.")
    return figures


def main() -> None:
    table = new_table("Events forwarded per second")
    add_rows(table, "forward", partial(measure, ROOT))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
