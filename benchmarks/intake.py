"""Durably accepted deliveries per second, compared with a bare Starlette endpoint in alternating rounds.

Both use uvloop and httptools, and get the same requests from the same client (wrk). The receiver verifies each
signature, parses the body, writes a log line, and responds after a commit with `synchronous=FULL`.

The disk decides as much as the processor: with 64 connections, most of them wait for the same commit. So the time of an
`fdatasync` is shown, measured in each round, and one case has its store in memory, where a commit waits for nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.processes import ROOT, Server, bare, receiver
from benchmarks.wrk import Result, drive

ROUNDS = 9
SECONDS = 4
CONNECTIONS = 64
GOAL = 0.45
MEMORY = Path("/dev/shm")
"""Linux's file system in memory."""
SYNCS = 50
SYNCED_BYTES = 128 * 1024
"""About what a commit of 64 deliveries writes."""


@dataclass(frozen=True)
class Case:
    """One line of the table. `judged`: whether it must reach the goal."""

    name: str
    connections: int
    config: str = ""
    judged: bool = False
    disk: Path | None = None


HANDLED = "[handlers.log]\n"
CASES = (
    Case("stored", CONNECTIONS, judged=True),
    Case("stored", 128, judged=True),
    Case("stored", 256),
    Case("stored and handled", CONNECTIONS, HANDLED),
    *([Case("stored in memory", CONNECTIONS, disk=MEMORY)] if MEMORY.is_dir() else []),
)


def measure(root: Path) -> tuple[float, float]:
    """Deliveries per second of the checkout at `root`, and its processor time for each, in microseconds."""
    result = run_receiver("", CONNECTIONS, root)
    return result.per_second, result.cost


def sync_seconds(disk: Path | None) -> float:
    """How long `fdatasync` takes after a commit's writes to blocks that the file has: the median."""
    found = []
    with tempfile.TemporaryFile(dir=disk, buffering=0) as file:
        for number in range(SYNCS + 1):
            os.pwrite(file.fileno(), bytes([number]) * SYNCED_BYTES, 0)
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - begun)
    return statistics.median(found[1:])  # the first one extended the file


def run_receiver(config: str, connections: int, root: Path = ROOT, disk: Path | None = None) -> Result:
    """Send deliveries to a receiver. Each accepted one must be stored as an event of its own."""
    with receiver(config, root=root, disk=disk) as server:
        warm = drive(server, 1, connections)
        result = drive(server, SECONDS, connections)
        sent, events = warm.responses + result.responses, count_events(server)
        if not sent <= events <= sent + 2 * connections:
            raise SystemExit(f"{sent} deliveries were accepted, {events} events are stored.")
        return result


def count_events(server: Server) -> int:
    return int(server.query("SELECT count(*) FROM events")[0][0])


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args, _ = parser.parse_known_args()
    table = Table(title=f"Accepted deliveries per second with wrk: {SECONDS} s, {args.rounds} rounds, medians")
    rates = ("connections", "bare endpoint", "receiver", "ratio", "all ratios")
    for column in ("", *rates, "us each", "p50", "p99", "fdatasync"):
        table.add_column(column)
    reached = True
    for case in CASES:
        plain, ours, syncs = [], [], []
        for _ in range(args.rounds):
            with bare() as server:
                drive(server, 1, case.connections)
                plain.append(drive(server, SECONDS, case.connections))
            syncs.append(sync_seconds(case.disk))
            ours.append(run_receiver(case.config, case.connections, disk=case.disk))
        ratios = [a.per_second / b.per_second for a, b in zip(ours, plain, strict=True)]
        median = statistics.median(ratios)
        reached = reached and (median >= GOAL or not case.judged)
        table.add_row(
            case.name,
            str(case.connections),
            f"{statistics.median(one.per_second for one in plain):,.0f}",
            f"{statistics.median(one.per_second for one in ours):,.0f}",
            f"{median:.2f}",
            " ".join(f"{ratio:.2f}" for ratio in sorted(ratios)),
            " / ".join(f"{statistics.median(one.cost for one in side):.0f}" for side in (ours, plain)),
            f"{statistics.median(one.p50_ms for one in ours):.0f} ms",
            f"{statistics.median(one.p99_ms for one in ours):.0f} ms",
            f"{statistics.median(syncs) * 1000:.2f} ms",
        )
    Console(width=150).print(table)
    return reached


if __name__ == "__main__":
    main()
