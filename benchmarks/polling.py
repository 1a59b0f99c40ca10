"""Polls of 10,000 watched jobs at a provider that allows 50 requests per second: is the limit kept, and the cost.

The store also has 100,000 jobs that have ended. At first all watched jobs are due much later: this measures the cost of
watching, and the duration of `/metrics`. Then all are due at the same time, the worst case.

A job's lag is the time from its due time to the arrival of its first poll. The rate limit causes a part of it: one
request every 1/50 s, and the poller's margin, for each job before it. The rest is the poller's.

The share of a core is the whole process's. Handlers add to it, so they are a variant of their own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.processes import ROOT, Server, receiver
from benchmarks.provider import FAILED_ONE_IN, RUNNING_ONE_IN, job_name
from receiver.engine.throttle import MARGIN
from receiver.model.ids import event_id, new_job_id
from receiver.store import jobs
from receiver.store.backends import backend_of
from receiver.store.database import Database

JOBS = 10_000
RATE = 50
ENDED = 100_000
IDLE_SECONDS = 30.0
RESPONSE_SECONDS = 0.05
"""The provider's time for a response."""
AHEAD_SECONDS = 2.0
"""How long before it the due time is set."""
CPU_GOAL = 0.40
METRICS_GOAL_SECONDS = 0.25
SOURCE = "voices"


@dataclass(frozen=True)
class Variant:
    """One line of the tables.

    Attributes:
        part: uses one in this number of the jobs, to save time.
        judged: whether its share of a core must reach the goal.
    """

    name: str
    provider: str
    config: str = ""
    version: str = ""
    part: int = 1
    judged: bool = False

    @property
    def handled(self) -> bool:
        """Whether a handler runs for each event."""
        return bool(self.config)


VARIANTS = (
    Variant("one by one", "finevoice", judged=True),
    Variant("one by one, and handled", "finevoice", "[handlers.log]", part=5),
    Variant("with history", "audixa", version='api_version = "v3"'),
)


@dataclass(frozen=True)
class Result:
    """The result of one variant."""

    variant: Variant
    jobs: int
    seconds: float
    cpu_seconds: float
    idle_share: float
    metrics_seconds: list[float]
    states: Counter[str]
    events: int
    jobs_with_event: int
    runs: Counter[str]
    due_at: float
    stats: dict[str, Any]

    @property
    def share(self) -> float:
        """The share of one core while jobs were due."""
        return self.cpu_seconds / self.seconds

    def lags(self, rate: int) -> tuple[list[float], list[float], list[float]]:
        """Seconds from the due time to the first poll's arrival, sorted: all, because of the limit, and the rest."""
        interval = MARGIN / rate
        arrivals = sorted(self.stats["first_polls"].values())
        lags = [at - self.due_at for at in arrivals]
        limited = [index * interval for index in range(len(arrivals))]
        rest = sorted(max(0.0, lag - wait) for lag, wait in zip(lags, limited, strict=True))
        return lags, limited, rest


def main(arguments: Sequence[str] = ()) -> bool:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polling", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help="watched jobs")
    parser.add_argument("--rate", type=int, default=RATE, help="requests per second that the provider allows")
    parser.add_argument("--ended", type=int, default=ENDED, help="jobs in the store that have ended")
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds to watch without polls")
    parser.add_argument("--only", choices=[variant.name for variant in VARIANTS], help="one variant")
    args = parser.parse_args(arguments)
    results = [_measure(variant, args) for variant in VARIANTS if args.only in (None, variant.name)]
    console = Console(width=150)
    console.print(_outcome(results, args))
    console.print(_lag(results, args.rate))
    console.print(_cost(results, args))
    if len(results) == len(VARIANTS):
        plain, _, history = results
        requests = plain.stats["requests"] / history.stats["requests"]
        console.print(
            f"History: {requests:.1f} times fewer requests, {plain.seconds / history.seconds:.1f} times faster."
        )
    return all(_reaches_goals(result, args.rate) for result in results)


def _reaches_goals(result: Result, rate: int) -> bool:
    done = result.states["completed"] + result.states["failed"] == result.jobs
    one_each = result.events == result.jobs_with_event == result.jobs
    all_run = result.runs == ({"succeeded": result.jobs} if result.variant.handled else {})
    within = result.stats["peak"] <= rate and result.stats["refused"] == 0
    quick = max(result.metrics_seconds) < METRICS_GOAL_SECONDS
    cheap = not result.variant.judged or result.share < CPU_GOAL
    return done and one_each and all_run and within and quick and cheap


def _measure(variant: Variant, args: argparse.Namespace) -> Result:
    watched = args.jobs // variant.part
    with _provider(watched, args.rate) as (port, stats):
        config = f"""
        {variant.config}
        [sources.{SOURCE}]
        provider = "{variant.provider}"
        base_url = "http://127.0.0.1:{port}"
        allow_private_addresses = true
        api_key = "an-api-key-0123456789"
        {variant.version}
        [sources.{SOURCE}.poll]
        requests_per_second = {args.rate}
        """
        with receiver(config) as server:
            path = server.folder / "data" / "receiver.db"
            _fill(path, watched, args.ended)
            idle_share = _idle(server, args.idle)
            metrics_seconds = sorted(_metrics_seconds(server) for _ in range(10))
            due_at = time.time() + AHEAD_SECONDS
            _make_due(path, due_at)
            time.sleep(max(0.0, due_at - time.time()))
            before = server.cpu_seconds()
            _wait_until_done(path, watched, args.rate)
            seconds, cpu = time.time() - due_at, server.cpu_seconds() - before
            stored = _stored(path)
    return Result(variant, watched, seconds, cpu, idle_share, metrics_seconds, *stored, due_at, stats)


@contextmanager
def _provider(watched: int, rate: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run the provider; its port, and its counts, which are complete when the block ends."""
    options = {"jobs": watched, "rate": rate, "seconds": RESPONSE_SECONDS}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.provider"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(options) + "\n")
    process.stdin.flush()
    stats: dict[str, Any] = {}
    try:
        yield int(process.stdout.readline()), stats
    finally:
        out, _ = process.communicate(timeout=30)
        stats.update(json.loads(out))


def _fill(path: Path, watched: int, ended: int) -> None:
    """Add watched jobs that are due in a day, and jobs that have ended."""
    now, rng = time.time(), random.Random(7)
    far = now + 86_000

    def watch(connection: Any) -> None:
        for number in range(watched):
            id_ = new_job_id(now, rng.getrandbits(74))
            jobs.watch(connection, id_, SOURCE, job_name(number), now, far, far)

    database = Database(backend_of(f"sqlite:///{path}", path.parent))
    try:
        database.transact(watch)
    finally:
        database.close()
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.executemany(
            "INSERT INTO jobs (id, source, job_id, state, created_at, due_at, deadline_at, ended_at, event_id)"
            " VALUES (?, ?, ?, 'completed', ?, ?, ?, ?, ?)",
            (
                (
                    new_job_id(now - number, rng.getrandbits(74)),
                    *(SOURCE, f"ended-{number:06}", now - number - 9, now - number, now, now - number),
                    event_id(now - number, rng.getrandbits(74)),
                )
                for number in range(ended)
            ),
        )


def _make_due(path: Path, at: float) -> None:
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.execute("UPDATE jobs SET due_at = ? WHERE state = 'watching'", [at])


def _idle(server: Server, seconds: float) -> float:
    """The share of one core that the process uses while no job is due."""
    time.sleep(1.0)
    before, since = server.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (server.cpu_seconds() - before) / max(1e-9, time.monotonic() - since)


def _metrics_seconds(server: Server) -> float:
    with closing(http.client.HTTPConnection("127.0.0.1", server.private_port, timeout=30)) as connection:
        began = time.perf_counter()
        connection.request("GET", "/metrics")
        response = connection.getresponse().read()
        seconds = time.perf_counter() - began
    if b"tts_receiver_jobs_open" not in response:
        raise SystemExit("/metrics does not show the open jobs.")
    return seconds


def _wait_until_done(path: Path, watched: int, rate: int) -> None:
    deadline = time.monotonic() + 60 + watched / rate * 2
    with closing(_reading(path)) as connection:
        while time.monotonic() < deadline:
            (left,) = connection.execute("SELECT count(*) FROM jobs WHERE state = 'watching'").fetchone()
            (open_,) = connection.execute("SELECT count(*) FROM runs WHERE state IN ('pending', 'running')").fetchone()
            if left + open_ == 0:
                return
            time.sleep(0.5 if left > rate * 2 else 0.05)
    raise SystemExit(f"Not done in time: {left} jobs are watched, {open_} runs are open.")


def _stored(path: Path) -> tuple[Counter[str], int, int, Counter[str]]:
    with closing(_reading(path)) as connection:
        states = connection.execute("SELECT state FROM jobs WHERE job_id LIKE 'job-%'")
        (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
        joined = "SELECT count(DISTINCT jobs.job_id) FROM jobs JOIN events ON events.id = jobs.event_id"
        (with_event,) = connection.execute(f"{joined} WHERE jobs.job_id = events.job_id").fetchone()
        runs = connection.execute("SELECT state FROM runs")
        return Counter(row[0] for row in states), events, with_event, Counter(row[0] for row in runs)


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)


def _outcome(results: list[Result], args: argparse.Namespace) -> Table:
    one = f"one in {FAILED_ONE_IN} fails, one in {RUNNING_ONE_IN} is running at its first poll"
    table = Table(title=f"Watched jobs, all due at the same time; {args.rate} requests/s allowed; {one}")
    for column in (
        "",
        "jobs",
        "wall s",
        "requests",
        "pages",
        "max in 1 s",
        "429",
        "done",
        "events",
        "runs",
        "core",
    ):
        table.add_column(column, justify="right")
    for result in results:
        stats, states = result.stats, result.states
        table.add_row(
            result.variant.name,
            str(result.jobs),
            f"{result.seconds:.1f}",
            str(stats["requests"]),
            str(stats["pages"]),
            str(stats["peak"]),
            str(stats["refused"]),
            f"{states['completed']} + {states['failed']} failed",
            str(result.events),
            " ".join(f"{count} {state}" for state, count in result.runs.items()) or "0",
            f"{result.share:.0%}",
        )
    return table


def _lag(results: list[Result], rate: int) -> Table:
    table = Table(title="From the due time to the first poll's arrival, seconds: p50 / p99 / max")
    for column in ("", "lag", "because of the limit", "rest"):
        table.add_column(column, justify="right")
    for result in results:
        lag, limited, rest = (_spread(values) for values in result.lags(rate))
        with_history = result.stats["pages"] > 0
        table.add_row(result.variant.name, lag, *(("-", "-") if with_history else (limited, rest)))
    return table


def _cost(results: list[Result], args: argparse.Namespace) -> Table:
    table = Table(title=f"With no job due, and {args.ended} jobs that have ended")
    for column in ("", "jobs", f"core, over {args.idle:g} s", "/metrics, median ms", "/metrics, longest ms"):
        table.add_column(column, justify="right")
    for result in results:
        durations = [seconds * 1000 for seconds in result.metrics_seconds]
        times = f"{statistics.median(durations):.0f}", f"{max(durations):.0f}"
        table.add_row(result.variant.name, str(result.jobs), f"{result.idle_share:.1%}", *times)
    return table


def _spread(values: list[float]) -> str:
    last = len(values) - 1
    return " / ".join(f"{values[int(last * share)]:.3f}" for share in (0.5, 0.99, 1.0))


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
