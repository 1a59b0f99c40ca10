"""Bounds of processor time that hold on a slow machine: they grow with what the machine takes for known work.

A bound in seconds says nothing where the processor has a third of the speed, or is shared. The same fixed work is timed
before, after and again and again during what is judged, and the bound is stretched by what it took. Coverage, which
makes each line of ours several times as slow and nothing else, is suspended.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

YARDSTICK_SECONDS = 0.035
"""What `_yardstick` takes on the machine on which bounds are written down."""

SAMPLE_SECONDS = 0.25
"""Of the processor, between two measurements during what is judged."""

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


def _measured() -> float:
    started = time.thread_time()
    _yardstick()
    return time.thread_time() - started


@contextmanager
def _without_tracing() -> Iterator[None]:
    tracer, of_new_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]  # as documented
    try:
        yield
    finally:
        threading.settrace(of_new_threads)  # type: ignore[arg-type]
        sys.settrace(tracer)


@contextmanager
def _samples() -> Iterator[list[float]]:
    """Measure this thread's speed, the main one's, again and again during the block: what each measurement took."""
    samples: list[float] = []
    before = signal.signal(signal.SIGPROF, lambda *_: samples.append(_measured()))
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    try:
        yield samples
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def max_cpu_seconds(seconds: float, clock: Callable[[], float] = time.process_time) -> Iterator[None]:
    """Fail if the block takes more of the processor than this, whatever else the machine does meanwhile.

    Args:
        seconds: what it may take on a machine on which the yardstick takes its usual time.
        clock: `time.process_time`, or `time.thread_time` where only this thread counts.
    """
    with _without_tracing():
        first = _measured()
        with _samples() as samples:
            started = clock()
            yield
            spent = clock() - started
        last = _measured()
    spent -= sum(samples)
    during = sum(samples) / len(samples) if samples else 0.0
    allowed = seconds * max(first, during, last, YARDSTICK_SECONDS) / YARDSTICK_SECONDS
    assert spent <= allowed, f"{spent:.2f} s of the processor, and {allowed:.2f} s are allowed"
