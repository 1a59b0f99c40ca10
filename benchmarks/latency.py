"""The time from sending a delivery to its handler's start, at a steady 100 deliveries per second.

The client records when it sends each delivery, and the handler when it starts, both by this machine's clock.
"""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table

from benchmarks.processes import load, receiver

RATE = 100
REQUESTS = 2000
GOAL_MS = 50.0

PLUGIN = """
import time
from pathlib import Path
from receiver import Context, JobCompleted, handler

OUT = (Path(__file__).parent.parent / "started.jsonl").open("a")

@handler(on=JobCompleted)
async def note_start(event: JobCompleted, ctx: Context) -> None:
    OUT.write('["%s",%r]\\n' % (event.job_id, time.time()))
    OUT.flush()
"""


def main() -> bool:
    config = '[plugins]\ndirectory = "plugins"\n'
    with receiver(config, files={"plugins/note_start.py": PLUGIN}) as server:
        load(server, 200, 8, RATE)
        result = load(server, REQUESTS, 8, RATE)
        sent = result["sent"]
        # The last handlers may not have started yet: the server waits for them when it stops.
    started = dict(json.loads(line) for line in server.kept["started.jsonl"].splitlines())
    latencies = sorted((started[job] - at) * 1000 for job, at in sent.items())
    if len(latencies) != REQUESTS:
        raise SystemExit("Not every handler started.")
    p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    table = Table(title=f"Delivery to handler start, ms; {REQUESTS} deliveries at {RATE} per second")
    for column in ("p50", "p99", "max", "response (p99)"):
        table.add_column(column, justify="right")
    table.add_row(f"{p50:.1f}", f"{p99:.1f}", f"{latencies[-1]:.1f}", f"{result['p99_ms']:.1f}")
    Console().print(table)
    return p99 < GOAL_MS


if __name__ == "__main__":
    main()
