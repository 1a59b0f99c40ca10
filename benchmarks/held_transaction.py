"""Runs per second in PostgreSQL while somebody's transaction is open, beside the rate without it.

`python -m benchmarks.held_transaction`. The transaction has a snapshot from before the first run, so the server cannot
remove any version of a row that the runs leave behind. 100,000 runs take half a minute or so: add runs for minutes.
Exit 1 if the rate falls below 80 %.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import ExitStack

import psycopg

from benchmarks import dispatch
from benchmarks.postgresql import database, durable_server
from benchmarks.processes import ROOT
from tests.postgresql_server import PostgresqlServer

RUNS = 100_000
ROUNDS = 3
GOAL = 0.8


def rate(server: PostgresqlServer, runs: int, held: str) -> float:
    """Runs per second; `held` are statements of a transaction that stays open, empty for none."""
    with database(server) as url, ExitStack() as stack:
        if held:
            stack.enter_context(psycopg.connect(url)).execute(held.encode())
        return dispatch.measure(ROOT, runs=runs, config=f'[store]\nurl = "{url}"\n')[0]


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args, _ = parser.parse_known_args()
    ratios = []
    with durable_server() as server:
        for _ in range(args.rounds):
            free = rate(server, args.runs, "")
            held = rate(
                server, args.runs, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()"
            )
            ratios.append(held / free)
            print(f"{free:,.0f} runs/s; with a transaction held open {held:,.0f} runs/s: {held / free:.2f}", flush=True)
    print(f"median: {statistics.median(ratios):.2f}")
    return statistics.median(ratios) >= GOAL


if __name__ == "__main__":
    sys.exit(not main())
