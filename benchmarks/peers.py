"""Runs per second in PostgreSQL beside PgQueuer's jobs per second, each from one process, on one server.

`python -m benchmarks.peers`. Both do nothing for each run or job, keep each result in a table (attempts, PgQueuer's
log), and commit with `synchronous_commit = on`. A batch is PgQueuer's `batch_size` and our `dispatch.concurrency`; 10
and 16 are the defaults. The two do not limit the same: PgQueuer claims the next batch while jobs of earlier ones run or
their results wait, without a limit. A rate is from the first start until the commit of the last result, as the server
recorded it; there are enough runs for two seconds, so that it is not about the first plans and the second connection.
Rounds alternate. The result is the ratio of each one's best batch. Exit 1 if it is below the goal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from benchmarks import dispatch
from benchmarks.postgresql import database, durable_server, last_commit
from benchmarks.processes import ROOT
from tests.postgresql_server import PostgresqlServer

RUNS = 60_000
ROUNDS = 5
BATCHES = (10, 16, 64, 256, 512, 1024)
GOAL = 1.0


def run_ours(server: PostgresqlServer, runs: int, batch: int) -> tuple[float, float]:
    """Runs per second, and this process's processor time for each, in microseconds."""
    with database(server) as url:
        config = f'[store]\nurl = "{url}"\n[dispatch]\nconcurrency = {batch}\n'
        return _figures(dispatch.execute(ROOT, runs=runs, config=config), runs, last_commit(url, "attempts"))


def run_pgqueuer(server: PostgresqlServer, jobs: int, batch: int) -> tuple[float, float]:
    """As `run_ours`."""
    with database(server) as url:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.pgqueuer_jobs"],
            input=json.dumps({"url": url, "jobs": jobs, "batch": batch}) + "\n",
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
            cwd=ROOT,
        )
        return _figures(json.loads(done.stdout), jobs, last_commit(url, "pgqueuer_log"))


def _figures(found: Mapping[str, float], count: int, ended: float) -> tuple[float, float]:
    return count / (ended - found["began"]), found["cpu"] / count * 1e6


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    args, _ = parser.parse_known_args()
    table = Table(title=f"{args.runs:,} runs that do nothing, in PostgreSQL: {args.rounds} rounds, medians")
    for column in ("batch", "PgQueuer", "receiver", "ratio", "us each"):
        table.add_column(column, justify="right")
    best = [0.0, 0.0]
    with durable_server() as server:
        for batch in map(int, args.batches.split(",")):
            figures: list[list[tuple[float, float]]] = [[], []]
            for _ in range(args.rounds):
                figures[0].append(run_pgqueuer(server, args.runs, batch))
                figures[1].append(run_ours(server, args.runs, batch))
            rates = [statistics.median(rate for rate, _ in side) for side in figures]
            costs = [statistics.median(cost for _, cost in side) for side in figures]
            best = [max(pair) for pair in zip(best, rates, strict=True)]
            table.add_row(
                str(batch), *(f"{rate:,.0f}" for rate in rates), f"{rates[1] / rates[0]:.2f}",
                " / ".join(f"{cost:.0f}" for cost in costs),
            )  # fmt: skip
    Console(width=100).print(table)
    print(f"best batch of each: {best[1] / best[0]:.2f}")
    return best[1] / best[0] >= GOAL


if __name__ == "__main__":
    sys.exit(not main())
