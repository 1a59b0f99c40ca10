"""Replaying all runs that match, in the background, beside deliveries: is it accepted at once, and does intake wait?

`python -m benchmarks.bulk`. The store has dead runs before the start, which succeed when they are replayed. Prints how
soon `POST /v1/runs/replay` is answered, how long the replay takes until every run has succeeded, and the intake's
response times beside it and without it. Exit 1 if it is accepted later than after a second, or not all succeed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.processes import Server, load, receiver

RUNS = 100_000
RATE = 100
ACCEPTED_SECONDS = 1.0
TIMEOUT_SECONDS = 3600

WRAPPER = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, os.getcwd())
from sqlalchemy import text
from receiver.assembly.resources import open_database
from receiver.cli import main
from receiver.model.delivery import Delivery
from receiver.settings import load
from receiver.store.inbox import accept
from receiver.store.migrate import migrate

config = Path(sys.argv[-1])
database = open_database(load(config))
migrate(database)

now = time.time() - 3600  # by its id an event is young, and not pruned

def delivery(number):
    job = f"dead_{number}"
    return Delivery(
        event_id=f"evt_{int(now * 1000):012x}{number:020x}", source="aitts", type="job.completed", key=job,
        job_id=job, origin="webhook", payload="{}", body=b"x" * 600, headers="[]", key_id=None, skew=None,
        received_at=now, handlers=("noop",), quarantined=False,
    )

count = int((config.parent / "runs.txt").read_text())
for start in range(0, count, 1000):
    database.transact(accept, [delivery(number) for number in range(start, min(start + 1000, count))])
dead = "UPDATE runs SET state = 'dead', attempt = 1, finished_at = 1.7e9, error = 'e', error_kind = 'E', reason = 'r'"
database.transact(lambda connection: connection.execute(text(dead)))
database.close()
main()
"""

PLUGIN = """
from receiver import Context, Event, handler

@handler(on=Event)
async def noop(event: Event, ctx: Context) -> None: ...
"""


def request(server: Server, method: str, path: str, body: Any = None) -> Any:
    """The JSON of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", server.private_port, timeout=60)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        found = json.loads(response.read())
    finally:
        connection.close()
    if response.status >= 300:
        raise SystemExit(f"{method} {path}: {response.status} {found}")
    return found


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    args, _ = parser.parse_known_args()
    files = {"wrapper.py": WRAPPER, "runs.txt": str(args.runs), "plugins/noop.py": PLUGIN}
    beside: list[dict[str, Any]] = []
    with receiver('[plugins]\ndirectory = "plugins"\n', files, "wrapper.py") as server:
        load(server, 5 * RATE, 8, RATE)
        idle = load(server, 10 * RATE, 8, RATE)
        over = threading.Event()

        def deliver() -> None:
            while not over.is_set():
                beside.append(load(server, 10 * RATE, 8, RATE))

        delivering = threading.Thread(target=deliver)
        delivering.start()
        begun = time.monotonic()
        operation = request(server, "POST", "/v1/runs/replay", {"state": "dead", "reason": "r"})
        accepted = time.monotonic() - begun
        left = "SELECT count(*) FROM runs JOIN events ON id = event_id WHERE state != 'succeeded' AND key LIKE 'dead%'"
        while (waiting := int(server.query(left)[0][0])) and time.monotonic() < begun + TIMEOUT_SECONDS:
            time.sleep(0.5)
        seconds = time.monotonic() - begun
        over.set()
        delivering.join()
        operation = request(server, "GET", f"/v1/operations/{operation['id']}")
    table = Table(title=f"{args.runs:,} dead runs replayed by one request, {RATE} deliveries a second beside it")
    for column in ("accepted", "all succeeded", "runs/s", "intake p50", "p99", "idle p50", "p99"):
        table.add_column(column, justify="right")
    names = ("p50_ms", "p99_ms")
    during = [f"{max(float(found.get(name, 0)) for found in beside):.1f} ms" for name in names]
    before = [f"{float(idle.get(name, 0)):.1f} ms" for name in names]
    rate = f"{args.runs / seconds:,.0f}"
    table.add_row(f"{accepted:.2f} s", f"{seconds:.1f} s", rate, *during, *before)
    Console(width=120).print(table)
    print(json.dumps(operation))
    return accepted < ACCEPTED_SECONDS and not waiting


if __name__ == "__main__":
    sys.exit(not main())
