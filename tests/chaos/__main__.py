"""`make chaos`: replicas of one store under load, killed and frozen; PostgreSQL killed, connections cut."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.acceptance.support import Site
from tests.chaos.accounting import Report
from tests.chaos.faults import plan_of_minutes
from tests.chaos.recovery import median, taken_up
from tests.chaos.run import run_chaos
from tests.chaos.systems import PostgresqlSystem, SqliteSystem, System
from tests.postgresql_server import running_server

GOAL_SECONDS = 3.0
"""The median from a kill until the runs are taken up again may not be longer."""
SYSTEMS = ("postgresql", "sqlite")


def run(name: str, minutes: float, seed: int, keep: Path | None) -> Report:
    """Chaos on one kind of store."""
    with ExitStack() as stack:
        folder = keep / name if keep else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tts-chaos-")))
        site = Site(folder)
        system: System = SqliteSystem(folder)
        if name == "postgresql":
            system = PostgresqlSystem(stack.enter_context(running_server()))
        stack.callback(system.close)
        stack.callback(site.close)
        started = time.monotonic()

        def report_progress(text: str) -> None:
            print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)

        report = run_chaos(site, system, plan_of_minutes(seed, minutes, system.faults), report_progress)
    report.title += f", {(time.monotonic() - started) / 60:.1f} minutes"
    return report


def main() -> int:
    """1 if anything was lost, succeeded twice or did not end, or a recovery takes too long."""
    arguments = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    arguments.add_argument("--minutes", type=float, default=15.0, help="for each kind of store")
    arguments.add_argument("--store", choices=SYSTEMS, action="append", help="default: both")
    arguments.add_argument("--seed", type=int, default=None, help="default: a new one")
    arguments.add_argument("--keep", type=Path, help="keep logs and stores in this folder")
    given = arguments.parse_args()
    seed = int(time.time()) if given.seed is None else given.seed
    print(f"seed {seed}")
    reports = [run(name, given.minutes, seed, given.keep) for name in given.store or SYSTEMS]
    for report in reports:
        print("", *report.failures[:50], report, sep="\n")
    slow = [report.title for report in reports if median(taken_up(report.recoveries)) >= GOAL_SECONDS]
    for title in slow:
        print(f"{title}: the median is {GOAL_SECONDS:g} s or more")
    return int(bool(slow) or any(report.failures for report in reports))


if __name__ == "__main__":
    sys.exit(main())
