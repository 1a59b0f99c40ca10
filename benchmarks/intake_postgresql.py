"""Durably accepted deliveries per second in PostgreSQL, with one and with three processes, beside a bare endpoint.

`python -m benchmarks.intake_postgresql`. The server waits for the disk at each commit. With several processes each gets
its own wrk, all at the same time, and the connections are divided among them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from rich.console import Console
from rich.table import Table

from benchmarks.intake import count_events
from benchmarks.postgresql import database, durable_server
from benchmarks.processes import bare, receiver
from benchmarks.wrk import Result, drive
from tests.postgresql_server import PostgresqlServer

ROUNDS = 5
SECONDS = 4
CONNECTIONS = 96
PROCESSES = (1, 3)


def run_processes(server: PostgresqlServer, processes: int, seconds: int) -> list[Result]:
    """What each process accepted; each accepted delivery must be stored as an event of its own."""
    with database(server) as url, ExitStack() as stack:
        config = f'[store]\nurl = "{url}"\n[audio]\nurl = "file:///tmp"\n'
        running = [stack.enter_context(receiver(config)) for _ in range(processes)]
        threads = stack.enter_context(ThreadPoolExecutor(processes))
        share = CONNECTIONS // processes
        warm = list(threads.map(lambda one: drive(one, 1, share), running))
        results = list(threads.map(lambda one: drive(one, seconds, share), running))
        sent, events = sum(one.responses for one in warm + results), count_events(running[0])
        if not sent <= events <= sent + 2 * CONNECTIONS:
            raise SystemExit(f"{sent} deliveries were accepted, {events} events are stored.")
    return results


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    args, _ = parser.parse_known_args()
    table = Table(
        title=f"Accepted deliveries per second in PostgreSQL, {CONNECTIONS} connections: {args.rounds} rounds"
    )
    for column in ("", "per second", "of bare", "us each", "p50", "p99"):
        table.add_column(column, justify="right")
    rounds: dict[str, list[list[Result]]] = {}
    with durable_server() as server:
        for _ in range(args.rounds):
            with bare() as plain:
                drive(plain, 1, CONNECTIONS)
                rounds.setdefault("bare endpoint", []).append([drive(plain, args.seconds, CONNECTIONS)])
            for processes in PROCESSES:
                found = run_processes(server, processes, args.seconds)
                rounds.setdefault(f"{processes} process{'es' * (processes > 1)}", []).append(found)
    base = 0.0
    for name, measured in rounds.items():
        rate = statistics.median(sum(one.per_second for one in each) for each in measured)
        base = base or rate
        flat = [one for each in measured for one in each]
        table.add_row(
            name, f"{rate:,.0f}", f"{rate / base:.2f}", f"{statistics.median(one.cost for one in flat):.0f}",
            f"{statistics.median(one.p50_ms for one in flat):.0f} ms",
            f"{statistics.median(one.p99_ms for one in flat):.0f} ms",
        )  # fmt: skip
    Console(width=110).print(table)
    return True


if __name__ == "__main__":
    sys.exit(not main())
