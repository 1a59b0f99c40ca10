"""Replaying all runs that match, in the background, beside deliveries: is it accepted at once, and does intake wait?

`python -m benchmarks.bulk`, for a store in SQLite and one in PostgreSQL. The store has dead runs before the start, and
they succeed when they are replayed. Prints how soon `POST /v1/runs/replay` is answered, how long the replay takes until
every run has succeeded, and the intake's response times beside it and without it, at the same rate: medians of rounds
of five seconds, and the worst p99. Exit 1 if it is accepted later than after a second, or not all succeed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.history_fill import CONFIG, History, fill
from benchmarks.postgresql import database, durable_server
from benchmarks.processes import Server, load, receiver

RUNS = 100_000
RATE = 100
ROUND_SECONDS = 5
IDLE_ROUNDS = 2
"""Before the replay, and as many after it."""
ACCEPTED_SECONDS = 1.0
TIMEOUT_SECONDS = 3600

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
        log = (server.folder / "log").read_text()
        raise SystemExit(f"{method} {path}: {response.status} {found}\n{log[-3000:]}")
    return found


def measure(url: str, runs: int) -> tuple[list[str], bool]:
    """The cells of the table's row for this store, and whether the goals are reached."""
    fill(url, History(runs, days=1 / 24, handler="noop", reason="r"))
    beside: list[dict[str, Any]] = []
    with receiver(
        f'{CONFIG}[store]\nurl = "{url}"\n[plugins]\ndirectory = "plugins"\n', {"plugins/noop.py": PLUGIN}
    ) as server:
        last = server.query("SELECT max(id) FROM events")[0][0]
        _round(server)  # warm
        idle = [_round(server) for _ in range(IDLE_ROUNDS)]
        over = threading.Event()

        def deliver() -> None:
            while not over.is_set():
                beside.append(_round(server))

        delivering = threading.Thread(target=deliver)
        delivering.start()
        begun = time.monotonic()
        operation = request(server, "POST", "/v1/runs/replay", {"state": "dead", "reason": "r"})
        accepted = time.monotonic() - begun
        left = f"SELECT count(*) FROM runs WHERE state != 'succeeded' AND event_id <= '{last}'"
        while (waiting := int(server.query(left)[0][0])) and time.monotonic() < begun + TIMEOUT_SECONDS:
            time.sleep(0.5)
        seconds = time.monotonic() - begun
        over.set()
        delivering.join()
        idle += [_round(server) for _ in range(IDLE_ROUNDS)]
        operation = request(server, "GET", f"/v1/operations/{operation['id']}")
    print(json.dumps(operation), flush=True)
    cells = [f"{accepted:.2f} s", f"{seconds:.1f} s", f"{runs / seconds:,.0f}", *_times(beside), *_times(idle)]
    return cells, accepted < ACCEPTED_SECONDS and not waiting


def _round(server: Server) -> dict[str, Any]:
    return load(server, RATE * ROUND_SECONDS, 8, RATE)


def _times(rounds: Sequence[dict[str, Any]]) -> list[str]:
    p50, p99 = ([float(found[name]) for found in rounds] for name in ("p50_ms", "p99_ms"))
    return [f"{statistics.median(p50):.1f}", f"{statistics.median(p99):.1f} ({max(p99):.1f})"]


def main() -> bool:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"), help="one kind of store")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    table = Table(title=f"{args.runs:,} dead runs replayed by one request, {RATE} deliveries a second beside it")
    for column in ("", "accepted", "all succeeded", "runs/s", "p50, ms", "p99, ms", "idle p50", "idle p99"):
        table.add_column(column, justify="right" if column else "left")
    reached = True
    if args.only != "PostgreSQL":
        with tempfile.TemporaryDirectory(prefix="tts-receiver-bulk-") as name:
            cells, good = measure(f"sqlite:///{Path(name) / 'receiver.db'}", args.runs)
            table.add_row("SQLite", *cells)
            reached = reached and good
    if args.only != "SQLite":
        with durable_server() as server, database(server) as url:
            cells, good = measure(url, args.runs)
            table.add_row("PostgreSQL", *cells)
            reached = reached and good
    Console(width=120).print(table)
    return reached


if __name__ == "__main__":
    sys.exit(not main())
