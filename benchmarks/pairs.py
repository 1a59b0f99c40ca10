"""Durable accepted deliveries a second of this checkout beside another one, in alternating pairs.

`python -m benchmarks.pairs OTHER`, where OTHER is a checkout of the earlier state. Each pair measures both, one after
the other, in alternating order; the result is the median of the pairs' ratios. Exit 1 if it is below 0.97. Processor
time a delivery is shown as well: it varies less with other load on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from benchmarks.intake import stored
from benchmarks.processes import ROOT, load, receiver

GOAL = 0.97


def measured(root: Path, connections: int, requests: int) -> tuple[float, float]:
    """Deliveries a second of the checkout at `root`, and its processor time for each, in microseconds.

    All must be accepted and stored.
    """
    with receiver("", root=root) as server:
        load(server, 2000, connections)
        before = server.cpu_seconds()
        result = load(server, requests, connections)
        used = server.cpu_seconds() - before
        if result["statuses"] != {"202": requests} or stored(server) != requests + 2000:
            raise SystemExit(f"Not every delivery was accepted and stored: {result['statuses']}")
        return float(result["per_second"]), used / requests * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="a checkout of the state before")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--requests", type=int, default=20_000)
    orders = parser.parse_args()
    ratios, costs = [], []
    for number in range(orders.pairs):
        turn = [ROOT, orders.other.resolve()]
        if number % 2:
            turn.reverse()
        figures = {root: measured(root, orders.connections, orders.requests) for root in turn}
        (now, cost), (before, cost_before) = figures[ROOT], figures[orders.other.resolve()]
        ratios.append(now / before)
        costs.append(cost / cost_before)
        print(
            f"pair {number + 1}: now {now:,.0f}/s ({cost:.0f} us), before {before:,.0f}/s ({cost_before:.0f} us), "
            f"ratio {now / before:.3f} (cost {cost / cost_before:.3f})",
            flush=True,
        )
    median = statistics.median(ratios)
    print(
        f"{orders.connections} connections: median {median:.3f} of {' '.join(f'{one:.3f}' for one in sorted(ratios))}"
    )
    print(f"processor time a delivery: median {statistics.median(costs):.3f} of the other's")
    return 0 if median >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
