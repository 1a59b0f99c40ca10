"""Runs per second in PostgreSQL while somebody's transaction is open, beside the rate without it.

`python -m benchmarks.held_transaction`: two minutes each, with a backlog. `--rate 200` stores that many runs per second
instead, so that each claim finds all that is due; the rates are the same then, and the server's processor time for a
run is to be compared. The transaction has a snapshot from before the first run, so the server cannot remove any version
of a row that the runs leave behind. The ratio is that of the last quarter of the time. Exit 1 if it is below 0.8.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from benchmarks.postgresql import database, durable_server
from benchmarks.processes import receiver
from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.migrate import migrate
from tests.postgresql_server import PostgresqlServer

SECONDS = 120.0
ROUNDS = 1
GOAL = 0.8
RUNS_PER_SECOND = 4000
"""Runs that are stored beforehand, for each second: more than can be executed."""
STORE_SECONDS = 0.05

PLUGIN = """
import json, time, tomllib
from pathlib import Path
from receiver import Context, Event, handler

FOLDER = Path(__file__).parent.parent
SECONDS = tomllib.loads((FOLDER / "case.toml").read_text())["seconds"]
counts = [0, 0, 0, 0]
begun = 0.0

@handler(on=Event)
async def noop(event: Event, ctx: Context) -> None:
    global begun
    now = time.monotonic()
    if not begun:
        begun = now
        (FOLDER / "begun").touch()
    quarter = int((now - begun) / SECONDS * 4)
    if quarter < 4:
        counts[quarter] += 1
    elif not (FOLDER / "figures").exists():
        (FOLDER / "part").write_text(json.dumps(counts))
        (FOLDER / "part").rename(FOLDER / "figures")
"""
_STORE = """
    WITH stored AS (
        INSERT INTO events (id, source, type, key, job_id, origin, status, received_at, headers, payload, body)
        SELECT 'evt_' || lpad(to_hex(n), 32, '0'), 'aitts', 'job.completed', 'job_' || n, 'job_' || n, 'webhook',
            'accepted', {at}, '[]', '{{"job_id": "job", "chars_charged": 412}}', convert_to(repeat('x', 600), 'UTF8')
        FROM generate_series({first}, {last}) AS n RETURNING id, received_at
    )
    INSERT INTO runs (event_id, handler, state, due_at) SELECT id, 'noop', 'pending', received_at FROM stored
"""
HELD = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()"


@dataclass(frozen=True)
class Figures:
    """Runs in each quarter of the time, and the server's processor time for a run in the last one, microseconds."""

    runs: list[int]
    cpu: float


def measure(server: PostgresqlServer, seconds: float, rate: float, held: str) -> Figures:
    """Execute runs for some seconds; `held` are statements of a transaction that stays open, empty for none."""
    with database(server) as url, ExitStack() as stack:
        store = Database(backend_of(url, Path("/")))
        migrate(store)
        store.close()
        writer = stack.enter_context(psycopg.connect(url, autocommit=True))
        writer.execute("SET enable_seqscan = off")  # as the receiver: a foreign key's check is planned once
        main_process = psutil.Process(psutil.Process(writer.info.backend_pid).ppid())
        if not rate:
            last = int(seconds * RUNS_PER_SECOND)
            writer.execute(_STORE.format(first=1, last=last, at=f"{time.time()} - ({last} - n) * 0.001").encode())
        writer.execute("VACUUM ANALYZE")
        if held:
            stack.enter_context(psycopg.connect(url)).execute(held.encode())
        files = {"plugins/noop.py": PLUGIN, "case.toml": f"seconds = {seconds}\n"}
        config = f'[store]\nurl = "{url}"\n[plugins]\ndirectory = "plugins"\n'
        with receiver(config, files) as receiving:
            began, begun, stored, at_quarter = time.monotonic(), 0.0, 0, 0.0
            while not (receiving.folder / "figures").exists():
                passed = time.monotonic() - began
                if not begun and (receiving.folder / "begun").exists():
                    begun = time.monotonic()
                if passed > seconds * 2 + 60:
                    raise SystemExit("The runs ended before the time, or were not started.")
                due = int(passed * rate)
                if due > stored:
                    writer.execute(_STORE.format(first=stored + 1, last=due, at=repr(time.time())).encode())
                    stored = due
                if not at_quarter and begun and time.monotonic() - begun >= seconds * 3 / 4:
                    at_quarter = _cpu_seconds(main_process)
                time.sleep(STORE_SECONDS)
            used = _cpu_seconds(main_process) - at_quarter
            runs = json.loads((receiving.folder / "figures").read_text())
    return Figures(runs, used / max(1, runs[3]) * 1e6)


def _cpu_seconds(main_process: psutil.Process) -> float:
    """Processor time of the server's running processes so far."""
    times = [process.cpu_times() for process in main_process.children()]
    return sum(one.user + one.system for one in times)


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--rate", type=float, default=0.0, help="runs stored per second; 0 for a backlog")
    args, _ = parser.parse_known_args()
    ratios = []
    with durable_server() as server:
        for _ in range(args.rounds):
            figures = {}
            for name, held in (("free", ""), ("held", HELD)):
                found = figures[name] = measure(server, args.seconds, args.rate, held)
                rates = ", ".join(f"{runs / args.seconds * 4:,.0f}" for runs in found.runs)
                print(f"{name}: {rates} runs/s by quarter; server {found.cpu:,.0f} us/run in the last", flush=True)
            ratios.append(figures["held"].runs[3] / max(1, figures["free"].runs[3]))
            print(f"ratio: {ratios[-1]:.2f}", flush=True)
    return statistics.median(ratios) >= GOAL


if __name__ == "__main__":
    raise SystemExit(not main())
