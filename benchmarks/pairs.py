"""One benchmark of this checkout beside another checkout, in alternating pairs.

`python -m benchmarks.pairs WHAT OTHER`, where WHAT is a module of this package with a function `measure(root)` and
OTHER a checkout of the earlier state, which must hold what this checkout's benchmark needs. Each pair measures both,
one after the other, in alternating order; the result is the median of the pairs' ratios. Exit 1 if it is below the
bound. Processor time is shown as well: it varies less with other load on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import ROOT

Measure = Callable[[Path], tuple[float, float]]
"""Measures the checkout at a path: how much a second, and microseconds of processor time for each."""


def compare(measure: Measure, other: Path, pairs: int) -> float:
    """Measure both checkouts in turn and print each pair; the median of this one's rate to the other's."""
    ratios, costs = [], []
    for number in range(pairs):
        turn = [ROOT, other]
        if number % 2:
            turn.reverse()
        figures = {root: measure(root) for root in turn}
        (now, cost), (before, cost_before) = figures[ROOT], figures[other]
        ratios.append(now / before)
        costs.append(cost / cost_before)
        print(
            f"pair {number + 1}: now {now:,.0f}/s ({cost:.0f} us), before {before:,.0f}/s ({cost_before:.0f} us), "
            f"ratio {now / before:.3f} (cost {cost / cost_before:.3f})",
            flush=True,
        )
    median = statistics.median(ratios)
    print(f"a second: median {median:.3f} of {' '.join(f'{one:.3f}' for one in sorted(ratios))}")
    print(f"processor time for each: median {statistics.median(costs):.3f} of the other's")
    return median


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", help="a benchmark, such as intake")
    parser.add_argument("other", type=Path, help="a checkout of the state before")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--at-least", type=float, default=0.97, help="the median below which it is missed")
    orders = parser.parse_args()
    measure: Measure = importlib.import_module(f"benchmarks.{orders.what}").measure
    return 0 if compare(measure, orders.other.resolve(), orders.pairs) >= orders.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
