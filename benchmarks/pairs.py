"""Compare this checkout with another in one benchmark, in alternating pairs.

`python -m benchmarks.pairs WHAT OTHER`, where WHAT is a module of this package with a function `measure(root)`, and
OTHER a checkout of an earlier state, which must support this checkout's benchmark. Each pair measures both, one after
the other, in alternating order. The result is the median of the pairs' ratios. Exit 1 if it is below the bound.
Processor time is shown too: it depends less on other load on the machine.
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
"""Measures the checkout at a path: how many per second, and microseconds of processor time for each."""


def compare(measure: Measure, other: Path, pairs: int) -> float:
    """Measure both checkouts in turn and print each pair; return the median ratio of this one's rate to the other's."""
    ratios, costs = [], []
    for number in range(pairs):
        roots = [ROOT, other] if number % 2 == 0 else [other, ROOT]
        figures = {root: measure(root) for root in roots}
        (now, cost), (before, cost_before) = figures[ROOT], figures[other]
        ratios.append(now / before)
        costs.append(cost / cost_before)
        print(
            f"pair {number + 1}: now {now:,.0f}/s ({cost:.0f} us), before {before:,.0f}/s ({cost_before:.0f} us), "
            f"ratio {now / before:.3f} (cost {cost / cost_before:.3f})",
            flush=True,
        )
    median = statistics.median(ratios)
    print(f"rate: median {median:.3f} of {' '.join(f'{one:.3f}' for one in sorted(ratios))}")
    print(f"processor time for each: median {statistics.median(costs):.3f}")
    return median


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", help="a benchmark, such as intake")
    parser.add_argument("other", type=Path, help="a checkout of an earlier state")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--at-least", type=float, default=0.97, help="the lowest median for exit 0")
    args = parser.parse_args()
    measure: Measure = importlib.import_module(f"benchmarks.{args.what}").measure
    return 0 if compare(measure, args.other.resolve(), args.pairs) >= args.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
