"""Processor time of commands that only print their help or the version, compared with another checkout.

`python -m benchmarks.startup OTHER`, where OTHER is a checkout of an earlier state with its own `.venv`. Both run in
turn; the result is the ratio of the medians. Exit 1 if the ratio of `--version` or `--help` is above a quarter. A
command's help has no goal, because Typer takes most of its time. `--version` is compared with the other's `--help`,
because an earlier state may not have it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import ROOT

GOAL = 0.25
JUDGED = (["--version"], ["--help"])
COMMANDS = (
    *JUDGED, ["check", "--help"], ["serve", "--help"], ["speech", "--help"],
    ["events", "list", "--help"], ["webhook", "--help"],
)  # fmt: skip


def cpu_seconds(root: Path, words: list[str]) -> float:
    """Processor time of one run of the command, user and system, in seconds."""
    before = os.times()
    subprocess.run([root / ".venv/bin/tts-receiver", *words], stdout=subprocess.DEVNULL, timeout=60, check=True)
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return float(used)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="a checkout of an earlier state")
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    worst = 0.0
    for words in COMMANDS:
        earlier = ["--help"] if words == ["--version"] else words
        pairs = [(cpu_seconds(ROOT, words), cpu_seconds(args.other.resolve(), earlier)) for _ in range(args.runs)]
        now, before = (statistics.median(column) for column in zip(*pairs, strict=True))
        if words in JUDGED:
            worst = max(worst, now / before)
        print(f"{' '.join(words):<20} {now:.2f} s, before {before:.2f} s: {now / before:.2f}", flush=True)
    return 0 if worst <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
