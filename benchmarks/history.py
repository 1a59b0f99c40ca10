"""What a long history costs, in SQLite and in PostgreSQL side by side: intake, claims, lists, metrics and pruning.

`python -m benchmarks.history` fills stores of 1,000, 100,000 and 1,000,000 events; `--short` of 1,000 and 50,000. The
columns of one kind of database are to be compared. A handler's start is measured from
sending a delivery, so that it has the claim in it. Lists and metrics are medians. Pruning deletes the oldest half of
the events, 100,000 at the most, by `tts-receiver prune` while deliveries arrive, and is stopped after half a minute.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from benchmarks.grown_load import during_prune, measure_latencies
from benchmarks.grown_requests import request
from benchmarks.grown_store import SOURCES
from benchmarks.growth import PLUGIN
from benchmarks.history_fill import CONFIG, DAYS, History, fill
from benchmarks.postgresql import database, durable_server
from benchmarks.processes import ROOT, receiver
from tests.postgresql_server import PostgresqlServer

PRUNED = 100_000
PRUNE_SECONDS = 30.0
REQUESTS = 15
PATHS = (
    "/v1/events", f"/v1/events?source={SOURCES[1]}&state=done", "/v1/events?state=open", "/v1/events?limit=200",
    "/metrics",
)  # fmt: skip


@contextmanager
def stores(server: PostgresqlServer) -> Iterator[dict[str, str]]:
    """The addresses of an empty store in each kind of database."""
    with tempfile.TemporaryDirectory(prefix="tts-receiver-history-") as name, database(server) as url:
        yield {"SQLite": f"sqlite:///{name}/receiver.db", "PostgreSQL": url}


def measure(url: str, count: int, seconds: float) -> dict[str, str]:
    """The figure for each line of the table."""
    began = time.perf_counter()
    history = History(count)
    fill(url, history)
    figures = {"filled, s": f"{time.perf_counter() - began:.0f}"}
    store = f'[store]\nurl = "{url}"\nretention_days = 3650\n[audio]\nurl = "file:///tmp"\n'
    config = f'{store}[plugins]\ndirectory = "plugins"\n{CONFIG}'
    with receiver(config, files={"plugins/note_start.py": PLUGIN}) as server:
        measure_latencies(server, 1.0)  # warm
        for path in PATHS:
            request(server, path, 5)
            figures[f"{path}, ms"] = request(server, path, REQUESTS)
        alone = measure_latencies(server, seconds)
        days = (DAYS * 86_400.0 - min(PRUNED, count // 2) * history.step) / 86_400.0
        pruning, how = during_prune(ROOT, server, days, PRUNE_SECONDS)
        figures["pruned"] = how
        for line, one in (("alone", alone), ("while pruning", pruning)):
            figures[f"intake p50 / p99, ms: {line}"] = one.intake
            figures[f"handler start p99 / max, ms: {line}"] = one.start
        figures["left"] = f"{server.query('SELECT count(*) FROM events')[0][0]:,}"
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--events", default="1000,100000,1000000", help="sizes, separated by commas")
    parser.add_argument("--seconds", type=float, default=10.0, help="of deliveries without pruning")
    parser.add_argument("--short", action="store_const", const=("1000,50000", 3.0), help="see that it works")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sizes, seconds = args.short or (args.events, args.seconds)
    columns: list[tuple[str, str, dict[str, str]]] = []
    with durable_server() as server:
        for count in map(int, sizes.split(",")):
            with stores(server) as urls:
                for kind, url in urls.items():
                    columns.append((kind, f"{count:,}", measure(url, count, seconds)))
                    print(f"{kind}, {count:,} events: measured", flush=True)
    columns.sort(key=lambda column: column[0] == "PostgreSQL")
    table = Table("", *(f"{kind}\n{count}" for kind, count, _ in columns), title="What a long history costs")
    for line in columns[0][2]:
        table.add_row(line, *(figures[line] for *_, figures in columns))
    Console(width=60 + 18 * len(columns)).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
