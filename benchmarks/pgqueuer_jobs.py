"""PgQueuer in a process of its own: it enqueues jobs that do nothing, runs them, and prints what it measured as JSON.

Run it as `python -m benchmarks.pgqueuer_jobs` with its options as JSON on standard input. The tables are PgQueuer's
own, durable, and its log keeps the result of each job. The event loop is uvloop and the driver asyncpg, which is the
faster one of its drivers.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.models import Job
from pgqueuer.types import QueueExecutionMode

ENQUEUED = 5_000
"""Jobs in one statement."""
PAYLOAD = b"x" * 600


async def execute(url: str, jobs: int, batch: int) -> dict[str, float]:
    """Enqueue the jobs, then run them all in batches of this size.

    Returns:
        When the first job started: `began`, unix seconds; and `cpu` of this process until the end, seconds.
    """
    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    for start in range(0, jobs, ENQUEUED):
        count = min(ENQUEUED, jobs - start)
        await queries.enqueue(["noop"] * count, [PAYLOAD] * count, [0] * count)
    await connection.execute("VACUUM ANALYZE")
    worker = PgQueuer(AsyncpgDriver(connection))
    begun: list[tuple[float, float]] = []

    @worker.entrypoint("noop")
    async def noop(job: Job) -> None:
        if not begun:
            begun.append((time.time(), time.process_time()))

    await worker.run(batch_size=batch, mode=QueueExecutionMode.drain)
    cpu = time.process_time() - begun[0][1]
    results = await connection.fetchval("SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'")
    await connection.close()
    if results != jobs:
        raise SystemExit(f"{results} of {jobs} jobs succeeded.")
    return {"began": begun[0][0], "cpu": cpu}


def main() -> None:
    options: dict[str, Any] = json.loads(sys.stdin.readline())
    print(json.dumps(uvloop.run(execute(**options))))


if __name__ == "__main__":
    main()
