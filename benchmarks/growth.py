"""The cost of a large store: for lists, counts, the command line, intake, handlers' starts and pruning.

`python -m benchmarks.growth` measures this checkout on stores of 1,000, 100,000 and 1,000,000 events. `--root OTHER`
measures another one, and `--root . --root OTHER` both, side by side. Each checkout's own code builds the stores, only
once with `--keep FOLDER`; a copy is measured. Requests and commands that fail are shown with their status.

Latencies of starts are from sending a delivery to its handler's start. "4 listings at a time" sends four of the slowest
requests at the same time, and again when all have a response, at most twice a second. A figure is the median of some
requests; a p99 is that of all deliveries of its line.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.grown_load import Latencies, concurrent_lists, during_prune, measure_latencies, scrapers
from benchmarks.grown_requests import command, request
from benchmarks.grown_store import SOURCES, WATCHED_JOBS
from benchmarks.processes import ROOT, SECRET, receiver

BUILD_SECONDS = 3600.0
REQUESTS = 5
COMMANDS = 3

PLUGIN = """
import time
from pathlib import Path
from receiver import Context, JobCompleted, JobFailed, handler

OUT = (Path(__file__).parent.parent / "started.jsonl").open("a")

@handler(on=JobCompleted)
async def note_start(event: JobCompleted, ctx: Context) -> None:
    OUT.write('["%s",%r]\\n' % (event.job_id, time.time()))
    OUT.flush()

@handler(on=JobFailed)
async def publish(event: JobFailed, ctx: Context) -> None:
    pass
"""


@contextmanager
def stores(kept: Path | None) -> Iterator[Path]:
    """The folder for the stores: `kept`, or a temporary one."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="tts-receiver-growth-") as name:
        yield Path(name)


def build_store(root: Path, count: int, folder: Path) -> Path:
    """The path of the store with `count` events of the checkout at `root`; it is built if it does not exist."""
    builders = (root / "receiver/store/schema.py", Path(__file__).with_name("grown_store.py"))
    version = hashlib.sha256(b"".join(file.read_bytes() for file in builders)).hexdigest()[:12]
    path = folder / f"events-{count}-{version}.db"
    if not path.exists():
        began = time.perf_counter()
        unfinished = path.with_suffix(".making")
        for file in folder.glob(f"{unfinished.name}*"):
            file.unlink()
        subprocess.run(
            [sys.executable, "-P", str(builders[1]), str(unfinished), str(count)],
            env={**os.environ, "PYTHONPATH": str(root)},
            cwd=root,
            check=True,
            timeout=BUILD_SECONDS,
        )
        unfinished.rename(path)
        print(
            f"{count:,} events in {time.perf_counter() - began:.0f} s, {path.stat().st_size / count:,.0f} bytes each",
            flush=True,
        )
    return path


def measure(root: Path, count: int, folder: Path, seconds: float) -> dict[str, str]:
    """The figure for each line of the table, of the checkout at `root` with `count` events."""
    store = build_store(root, count, folder)
    with tempfile.TemporaryDirectory(prefix="copy-", dir=folder) as name:
        copy = Path(name) / "receiver.db"
        shutil.copyfile(store, copy)
        job, days = _facts(copy)
        began = time.perf_counter()
        with receiver(_config(copy), files={"plugins/note_start.py": PLUGIN}, root=root) as server:
            figures = {"start, s": f"{time.perf_counter() - began:.1f}", "memory, MB": f"{server.rss() / 1e6:.0f}"}
            slowest = ["/v1/events?state=open", f"/v1/events?job_id={job}", "/v1/events?type=none.such", "/v1/events"]
            for path in [
                *slowest, f"/v1/events?source={SOURCES[1]}", f"/v1/events?source={SOURCES[1]}&state=dead",
                "/v1/events?limit=200", "/v1/jobs?limit=50", f"/v1/jobs?source={SOURCES[1]}&state=unknown", "/metrics",
            ]:  # fmt: skip
                figures[f"{path.replace(job, '...')}, ms"] = request(server, path, REQUESTS)
            for words in [
                ["events", "list", "--state", "open"], ["events", "list", "--job", job], ["runs", "list"],
                ["runs", "list", "--state", "dead"], ["runs", "list", "--state", "pending"], ["jobs", "list"],
            ]:  # fmt: skip
                figures[f"{' '.join(words).replace(job, '...')}, s"] = command(root, server, words, COMMANDS)
            lines: dict[str, Latencies] = {}
            measure_latencies(server, 1.0)  # warm
            lines["alone"] = measure_latencies(server, seconds)
            with concurrent_lists(server, slowest):
                lines["4 listings at a time"] = measure_latencies(server, seconds)
            with scrapers(server):
                lines["2 scrapers every 5 s"] = measure_latencies(server, seconds)
            lines["prune of a quarter"], figures["prune of a quarter"] = during_prune(root, server, days)
            figures |= {f"intake p50 / p99, ms: {line}": one.intake for line, one in lines.items()}
            figures |= {f"handler start p99 / max, ms: {line}": one.start for line, one in lines.items()}
            figures["peak memory, MB"] = f"{server.peak_rss() / 1e6:.0f}"
    return figures


def _facts(store: Path) -> tuple[str, float]:
    """A finished job in the middle of the store, and the age in days that a quarter of the events exceed."""
    with closing(sqlite3.connect(store)) as connection:
        oldest, newest = (
            connection.execute(f"SELECT received_at FROM events ORDER BY id {order} LIMIT 1").fetchone()[0]
            for order in ("", "DESC")
        )
        middle = f"evt_{int((oldest + newest) / 2 * 1000):012x}"
        job = connection.execute("SELECT job_id FROM events WHERE id >= ? ORDER BY id LIMIT 1", (middle,)).fetchone()[0]
        assert connection.execute("SELECT count(*) FROM jobs WHERE state = 'watching'").fetchone()[0] >= WATCHED_JOBS
    return job, (time.time() - (oldest + (newest - oldest) / 4)) / 86_400


def _config(store: Path) -> str:
    sources = "".join(
        f'[sources.{name}]\nprovider = "aitts"\nsigning_secrets = ["{SECRET}"]\n' for name in SOURCES
    )  # fmt: skip
    return f'[store]\nurl = "sqlite:///{store}"\nretention_days = 3650\n[plugins]\ndirectory = "plugins"\n{sources}'


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--root", type=Path, action="append", help="the checkout to measure; repeatable")
    parser.add_argument("--events", default="1000,100000,1000000", help="sizes, separated by commas")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the stores for the next run")
    parser.add_argument("--seconds", type=float, default=15.0, help="of deliveries, for each line of latencies")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    roots = [root.resolve() for root in args.root or [ROOT]]
    columns: list[tuple[str, dict[str, str]]] = []
    with stores(args.keep) as folder:
        for count in (int(size) for size in args.events.split(",")):
            for root in roots:
                columns.append((f"{count:,}\n{root.name}", measure(root, count, folder, args.seconds)))
                _print(columns)
    return 0


def _print(columns: list[tuple[str, dict[str, str]]]) -> None:
    table = Table("", *(name for name, _ in columns), title="The cost of a large store")
    for line in columns[0][1]:
        table.add_row(line, *(figures.get(line, "") for _, figures in columns))
    Console(width=60 + 22 * len(columns)).print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
