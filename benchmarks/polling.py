"""10,000 watched jobs over a provider that allows 50 requests a second: never above it, and how much that costs.

The jobs lie in a store with 100,000 that have ended. First all of them are due far off: what does it cost to watch
them, and how long does `/metrics` take? Then all are due at one moment, the worst that there is.

A job's lag is the time from when it was due to when its question arrived. Part of it is waiting for its turn: the jobs
in front of it, one request every 1/50 s (and the margin of the poller's). What is beyond that is the poller's own.

The share of a core is the whole process's. What handlers take comes on top of what polling does: a variant of its own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
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
from receiver.store.database import Database

JOBS = 10_000
RATE = 50
ENDED = 100_000
IDLE_SECONDS = 30.0
ANSWER_SECONDS = 0.05
"""How long the provider takes to answer."""
AHEAD_SECONDS = 2.0
"""How long before they are due the jobs are made due."""
CPU_GOAL = 0.40
METRICS_GOAL_SECONDS = 0.25
SOURCE = "voices"


@dataclass(frozen=True)
class Variant:
    """One line of the tables.

    Attributes:
        part: one in so many of the jobs, where all of them would show no more.
        judged: its share of a core is held against the goal.
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
class Course:
    """What came of one variant."""

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
    saw: dict[str, Any]

    @property
    def share(self) -> float:
        """Of one core, while there was something to do."""
        return self.cpu_seconds / self.seconds

    def lags(self, rate: int) -> tuple[list[float], list[float], list[float]]:
        """From being due to the first question's arrival, sorted: all of it, for its turn, and beyond its turn."""
        gap = MARGIN / rate
        first = sorted(self.saw["first"].values())
        all_of_it = [at - self.due_at for at in first]
        turn = [index * gap for index in range(len(first))]
        beyond = sorted(max(0.0, lag - mine) for lag, mine in zip(all_of_it, turn, strict=True))
        return all_of_it, turn, beyond


def main(arguments: Sequence[str] = ()) -> bool:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polling", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help="watched jobs")
    parser.add_argument("--rate", type=int, default=RATE, help="requests a second that the provider allows")
    parser.add_argument("--ended", type=int, default=ENDED, help="jobs in the store that have ended")
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds to watch without polls")
    parser.add_argument("--only", choices=[variant.name for variant in VARIANTS], help="one variant")
    given = parser.parse_args(arguments)
    courses = [_course(variant, given) for variant in VARIANTS if given.only in (None, variant.name)]
    console = Console(width=150)
    console.print(_outcome(courses, given))
    console.print(_lag(courses, given.rate))
    console.print(_cost(courses, given))
    if len(courses) == len(VARIANTS):
        plain, _, history = courses
        requests = plain.saw["requests"] / history.saw["requests"]
        console.print(
            f"History: {requests:.1f} times fewer requests, {plain.seconds / history.seconds:.1f} times sooner."
        )
    return all(_good(course, given.rate) for course in courses)


def _good(course: Course, rate: int) -> bool:
    settled = course.states["completed"] + course.states["failed"] == course.jobs
    one_each = course.events == course.jobs_with_event == course.jobs
    all_run = course.runs == ({"succeeded": course.jobs} if course.variant.handled else {})
    within = course.saw["highest"] <= rate and course.saw["refused"] == 0
    quick = max(course.metrics_seconds) < METRICS_GOAL_SECONDS
    cheap = not course.variant.judged or course.share < CPU_GOAL
    return settled and one_each and all_run and within and quick and cheap


def _course(variant: Variant, given: argparse.Namespace) -> Course:
    watched = given.jobs // variant.part
    with _provider(watched, given.rate) as (port, saw):
        config = f"""
        {variant.config}
        [sources.{SOURCE}]
        provider = "{variant.provider}"
        base_url = "http://127.0.0.1:{port}"
        allow_private_addresses = true
        api_key = "an-api-key-0123456789"
        {variant.version}
        [sources.{SOURCE}.poll]
        requests_per_second = {given.rate}
        """
        with receiver(config) as server:
            path = server.folder / "data" / "receiver.db"
            _fill(path, watched, given.ended)
            idle_share = _idle(server, given.idle)
            metrics_seconds = sorted(_metrics_seconds(server) for _ in range(10))
            due_at = time.time() + AHEAD_SECONDS
            _make_due(path, due_at)
            time.sleep(max(0.0, due_at - time.time()))
            before = _cpu_seconds(server.pid)
            _wait_until_settled(path, watched, given.rate)
            seconds, cpu = time.time() - due_at, _cpu_seconds(server.pid) - before
            stored = _stored(path)
    return Course(variant, watched, seconds, cpu, idle_share, metrics_seconds, *stored, due_at, saw)


@contextmanager
def _provider(watched: int, rate: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The provider's port; what it saw is there once the block is left."""
    orders = {"jobs": watched, "rate": rate, "seconds": ANSWER_SECONDS}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.provider"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(orders) + "\n")
    process.stdin.flush()
    saw: dict[str, Any] = {}
    try:
        yield int(process.stdout.readline()), saw
    finally:
        out, _ = process.communicate(timeout=30)
        saw.update(json.loads(out))


def _fill(path: Path, watched: int, ended: int) -> None:
    """Watched jobs that are due in a day, and jobs that have ended, as the receiver leaves them."""
    now, dice = time.time(), random.Random(7)
    far = now + 86_000

    def watch(connection: Any) -> None:
        for number in range(watched):
            id_ = new_job_id(now, dice.getrandbits(74))
            jobs.watch(connection, id_, SOURCE, job_name(number), now, far, far)

    database = Database(path)
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
                    new_job_id(now - number, dice.getrandbits(74)),
                    *(SOURCE, f"ended-{number:06}", now - number - 9, now - number, now, now - number),
                    event_id(now - number, dice.getrandbits(74)),
                )
                for number in range(ended)
            ),
        )


def _make_due(path: Path, at: float) -> None:
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        connection.execute("UPDATE jobs SET due_at = ? WHERE state = 'watching'", [at])


def _idle(server: Server, seconds: float) -> float:
    """The share of one core that it takes to have nothing to do."""
    time.sleep(1.0)
    before, since = _cpu_seconds(server.pid), time.monotonic()
    time.sleep(seconds)
    return (_cpu_seconds(server.pid) - before) / max(1e-9, time.monotonic() - since)


def _metrics_seconds(server: Server) -> float:
    with closing(http.client.HTTPConnection("127.0.0.1", server.private_port, timeout=30)) as connection:
        began = time.perf_counter()
        connection.request("GET", "/metrics")
        answer = connection.getresponse().read()
        seconds = time.perf_counter() - began
    if b"tts_receiver_jobs_open" not in answer:
        raise SystemExit("/metrics does not show the open jobs.")
    return seconds


def _wait_until_settled(path: Path, watched: int, rate: int) -> None:
    patience = time.monotonic() + 60 + watched / rate * 2
    with closing(_reading(path)) as connection:
        while time.monotonic() < patience:
            (left,) = connection.execute("SELECT count(*) FROM jobs WHERE state = 'watching'").fetchone()
            (open_,) = connection.execute("SELECT count(*) FROM runs WHERE state IN ('pending', 'running')").fetchone()
            if left + open_ == 0:
                return
            time.sleep(0.5 if left > rate * 2 else 0.05)
    raise SystemExit(f"Not settled in time: {left} jobs are watched, {open_} runs are open.")


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


def _cpu_seconds(pid: int) -> float:
    """What the process has used so far, of all cores together."""
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _outcome(courses: list[Course], given: argparse.Namespace) -> Table:
    one = f"one in {FAILED_ONE_IN} fails, one in {RUNNING_ONE_IN} runs on at first"
    table = Table(title=f"Watched jobs, all due at once; {given.rate} requests/s allowed; {one}")
    for column in (
        "",
        "jobs",
        "wall s",
        "requests",
        "pages",
        "most in 1 s",
        "429",
        "settled",
        "events",
        "runs",
        "core",
    ):
        table.add_column(column, justify="right")
    for course in courses:
        saw, states = course.saw, course.states
        table.add_row(
            course.variant.name,
            str(course.jobs),
            f"{course.seconds:.1f}",
            str(saw["requests"]),
            str(saw["pages"]),
            str(saw["highest"]),
            str(saw["refused"]),
            f"{states['completed']} + {states['failed']} failed",
            str(course.events),
            " ".join(f"{count} {state}" for state, count in course.runs.items()) or "0",
            f"{course.share:.0%}",
        )
    return table


def _lag(courses: list[Course], rate: int) -> Table:
    table = Table(title="From being due to the question's arrival, seconds: p50 / p99 / max")
    for column in ("", "lag", "for its turn, because of the limit", "beyond its turn"):
        table.add_column(column, justify="right")
    for course in courses:
        lag, turn, beyond = (_spread(values) for values in course.lags(rate))
        asked_together = course.saw["pages"] > 0
        table.add_row(course.variant.name, lag, *(("-", "-") if asked_together else (turn, beyond)))
    return table


def _cost(courses: list[Course], given: argparse.Namespace) -> Table:
    table = Table(title=f"With all jobs due far off, and {given.ended} that have ended")
    for column in ("", "jobs", f"core, over {given.idle:g} s", "/metrics, median ms", "/metrics, longest ms"):
        table.add_column(column, justify="right")
    for course in courses:
        taken = [seconds * 1000 for seconds in course.metrics_seconds]
        times = f"{statistics.median(taken):.0f}", f"{max(taken):.0f}"
        table.add_row(course.variant.name, str(course.jobs), f"{course.idle_share:.1%}", *times)
    return table


def _spread(values: list[float]) -> str:
    last = len(values) - 1
    return " / ".join(f"{values[int(last * share)]:.3f}" for share in (0.5, 0.99, 1.0))


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
