"""Messages published per second, and the cost of each, beside a handler that does nothing in the same run.

With each broker that is installed: real servers of Debian's packages, as the tests start them, which confirm what is on
disk. The broker is stopped (SIGSTOP) until the measurement starts: see `benchmarks.beside`. The audio is not fetched
(`audio = "none"`).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.beside import RUNS, add_rows, measure_handler, new_table
from benchmarks.processes import ROOT
from tests import brokers
from tests.integration.publish_support import TARGETS, target

NAMES = {brokers.Nats: "NATS", brokers.Redis: "Redis", brokers.RabbitMq: "RabbitMQ"}


def measure(broker: brokers.Broker, runs: int = RUNS) -> tuple[float, float]:
    """Messages published per second, and the receiver's processor time for each, in microseconds.

    All must be confirmed at their first attempt.
    """
    goal = target(broker)
    asyncio.run(goal.create())
    # A JSON text is a TOML text, too.
    options = "".join(f"{name} = {json.dumps(value)}\n" for name, value in goal.options(audio="none").items())
    broker.stop()
    try:
        return measure_handler("publish", options, broker.resume, ROOT, runs)
    finally:
        broker.resume()


def main() -> None:
    table = new_table("Messages published per second")
    for kind in TARGETS:
        missing = brokers.missing(kind)
        if missing is not None:
            table.add_row(f"{NAMES[kind]}: {missing}")
            continue
        with tempfile.TemporaryDirectory(prefix="tts-receiver-bench-") as folder:
            broker = kind(Path(folder))
            try:
                broker.start()
                add_rows(table, f"publish to {NAMES[kind]}", partial(measure, broker))
            finally:
                broker.close()
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
