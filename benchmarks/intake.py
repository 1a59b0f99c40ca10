"""Durable accepted deliveries a second, beside a bare Starlette endpoint, in turn in one run.

Both with uvloop and httptools, the same requests, the same client. The receiver verifies each signature, parses the
body, writes a log line, and answers after a commit with `synchronous=FULL`.
"""

from __future__ import annotations

import sqlite3
import statistics

from rich.console import Console
from rich.table import Table

from benchmarks.processes import Server, bare, load, receiver

ROUNDS = 5
REQUESTS = 20_000
CONNECTIONS = 128
GOAL = 0.40

CASES = {
    "stored (event row)": "",
    "stored, one handler subscribed (event and run row), handlers at work": "[handlers.log]\n",
}


def _stored(server: Server) -> int:
    with sqlite3.connect(f"file:{server.folder}/data/receiver.db?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


def main() -> bool:
    table = Table(
        title=f"Accepted deliveries a second; {CONNECTIONS} connections, {REQUESTS} deliveries, {ROUNDS} rounds"
    )
    for column in ("", "bare endpoint", "receiver", "ratio (median)", "ratios", "p99 of the answer"):
        table.add_column(column)
    good = True
    for name, config in CASES.items():
        plain, ours, tails = [], [], []
        for _ in range(ROUNDS):
            with bare() as server:
                load(server, 2000, CONNECTIONS)
                plain.append(load(server, REQUESTS, CONNECTIONS)["per_second"])
            with receiver(config) as server:
                load(server, 2000, CONNECTIONS)
                result = load(server, REQUESTS, CONNECTIONS)
                if result["statuses"] != {"202": REQUESTS} or _stored(server) != REQUESTS + 2000:
                    raise SystemExit(f"Not every delivery was accepted and stored: {result['statuses']}")
                ours.append(result["per_second"])
                tails.append(result["p99_ms"])
        ratios = [a / b for a, b in zip(ours, plain, strict=True)]
        median = statistics.median(ratios)
        good = good and (median >= GOAL or name != next(iter(CASES)))
        table.add_row(
            name,
            f"{statistics.median(plain):,.0f}",
            f"{statistics.median(ours):,.0f}",
            f"{median:.2f}",
            " ".join(f"{ratio:.2f}" for ratio in sorted(ratios)),
            f"{statistics.median(tails):.0f} ms",
        )
    Console(width=160).print(table)
    return good


if __name__ == "__main__":
    main()
