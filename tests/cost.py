"""Bounds of processor time that hold on a slow machine: they grow with what the machine takes for known work.

A bound in seconds says nothing where the processor has a third of the speed, is shared, or runs under coverage.
The same fixed work is timed before and after what is judged, and the bound is stretched by what it took.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

YARDSTICK_SECONDS = 0.035
"""What `_yardstick` takes on the machine on which bounds are written down."""

_TEXT = json.dumps([{"name": f"number {number}", "value": number} for number in range(200)])
_WORD = re.compile(r"[a-z]+ (\d+)")


def _yardstick() -> int:
    """Some of what our code does: loops, dictionaries, JSON, a regular expression."""
    total = 0
    for _ in range(100):
        for row in json.loads(_TEXT):
            found = _WORD.search(row["name"])
            total += int(found[1]) if found else row["value"]
    return total


def _measured(clock: Callable[[], float]) -> float:
    started = clock()
    _yardstick()
    return clock() - started


@contextmanager
def max_cpu_seconds(seconds: float, clock: Callable[[], float] = time.process_time) -> Iterator[None]:
    """Fail if the block takes more of the processor than this, whatever else the machine does meanwhile.

    Args:
        seconds: what it may take on a machine on which the yardstick takes its usual time.
        clock: `time.process_time`, or `time.thread_time` where only this thread counts.
    """
    slowest = _measured(clock)
    started = clock()
    yield
    spent = clock() - started
    slowest = max(slowest, _measured(clock), YARDSTICK_SECONDS)
    allowed = seconds * slowest / YARDSTICK_SECONDS
    assert spent <= allowed, f"{spent:.2f} s of the processor, and {allowed:.2f} s are allowed"
