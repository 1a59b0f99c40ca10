"""Durable accepted deliveries a second, beside a bare Starlette endpoint, in turn in one run.

Both with uvloop and httptools, the same requests, the same client. The receiver verifies each signature, parses the
body, writes a log line, and answers after a commit with `synchronous=FULL`.
"""

from __future__ import annotations

import sqlite3
import statistics
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.processes import Server, bare, load, receiver

ROUNDS = 5
REQUESTS = 20_000
GOAL = 0.40


@dataclass(frozen=True)
class Case:
    """One line of the table. `judged`: held against the goal."""

    name: str
    connections: int
    config: str = ""
    judged: bool = False


HANDLED = "[handlers.log]\n"
CASES = (
    Case("stored", 64),
    Case("stored", 128, judged=True),
    Case("stored", 256),
    Case("stored and handled meanwhile", 128, HANDLED),
)


def stored(server: Server) -> int:
    with sqlite3.connect(f"file:{server.folder}/data/receiver.db?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


def main() -> bool:
    table = Table(title=f"Accepted deliveries a second: {REQUESTS} deliveries, {ROUNDS} rounds, medians")
    for column in ("", "connections", "bare endpoint", "receiver", "ratio", "all ratios", "p99 of the answer"):
        table.add_column(column)
    good = True
    for case in CASES:
        plain, ours, tails = [], [], []
        for _ in range(ROUNDS):
            with bare() as server:
                load(server, 2000, case.connections)
                plain.append(load(server, REQUESTS, case.connections)["per_second"])
            with receiver(case.config) as server:
                load(server, 2000, case.connections)
                result = load(server, REQUESTS, case.connections)
                if result["statuses"] != {"202": REQUESTS} or stored(server) != REQUESTS + 2000:
                    raise SystemExit(f"Not every delivery was accepted and stored: {result['statuses']}")
                ours.append(result["per_second"])
                tails.append(result["p99_ms"])
        ratios = [a / b for a, b in zip(ours, plain, strict=True)]
        median = statistics.median(ratios)
        good = good and (median >= GOAL or not case.judged)
        table.add_row(
            case.name,
            str(case.connections),
            f"{statistics.median(plain):,.0f}",
            f"{statistics.median(ours):,.0f}",
            f"{median:.2f}",
            " ".join(f"{ratio:.2f}" for ratio in sorted(ratios)),
            f"{statistics.median(tails):.0f} ms",
        )
    Console(width=120).print(table)
    return good


if __name__ == "__main__":
    main()
