"""Runs per second of handlers that do nothing: the receiver's own cost of a run.

`python -m benchmarks.dispatch OTHER`, where OTHER is a checkout of an earlier state: alternating pairs for each case.
The store has the events and their pending runs before `tts-receiver serve` starts. The measured time is from the first
handler's start to the last handler's start, inside the process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.pairs import compare
from benchmarks.processes import Server, receiver

RUNS = 10_000
PAIRS = 9
GOAL = 2.0
TIMEOUT_SECONDS = 300

# Fills the store through the checkout's own schema, then runs `tts-receiver serve`.
WRAPPER = """
import json, os, sys, tomllib
from pathlib import Path
sys.path.insert(0, os.getcwd())
from receiver.assembly.resources import open_database
from receiver.cli import main
from receiver.model.delivery import Delivery
from receiver.settings import load
from receiver.store.inbox import accept
from receiver.store.migrate import migrate

config = Path(sys.argv[-1])
case = tomllib.loads((config.parent / "case.toml").read_text())
handlers = tuple(case["handlers"])
database = open_database(load(config))
migrate(database)

def delivery(number):
    job = f"job_{number}"
    payload = {"job_id": job, "chars_charged": 412, "metadata": {"episode": "12", "user": "benchmark"}}
    return Delivery(
        event_id=f"evt_{number:032x}", source="aitts", type="job.completed", key=job, job_id=job, origin="webhook",
        payload=json.dumps(payload), body=b"x" * 600, headers="[]", key_id=None, skew=None,
        received_at=1.7e9 + number, handlers=handlers, quarantined=False,
    )

count = case["runs"] // len(handlers)
for start in range(0, count, 1000):
    database.transact(accept, [delivery(number) for number in range(start, min(start + 1000, count))])
database.close()
if load(config).store.url.startswith("postgresql"):  # as autovacuum would, soon
    import psycopg
    with psycopg.connect(load(config).store.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
main()
"""

PLUGIN = """
import itertools, json, time, tomllib
from pathlib import Path
from receiver import Context, Event, handler

FOLDER = Path(__file__).parent.parent
LAST = tomllib.loads((FOLDER / "case.toml").read_text())["runs"]
number = itertools.count(1)
begun = ()

def count():
    global begun
    at = next(number)
    if at == 1:
        begun = time.monotonic(), time.process_time(), time.time()
    elif at == LAST:
        figures = {"seconds": time.monotonic() - begun[0], "cpu": time.process_time() - begun[1], "began": begun[2]}
        (FOLDER / "part").write_text(json.dumps(figures))
        (FOLDER / "part").rename(FOLDER / "figures")
"""

HANDLER = """
@handler(on=Event)
{kind} {name}(event: Event, ctx: Context) -> None:
    count()
"""


@dataclass(frozen=True)
class Case:
    """One kind of load."""

    name: str
    kind: str = "async def"
    handlers: int = 1


CASES = (
    Case("async handler"),
    Case("plain function", kind="def"),
    Case("four handlers", handlers=4),
)


def measure(root: Path, case: Case = CASES[0], runs: int = RUNS, config: str = "") -> tuple[float, float]:
    """Runs per second of the checkout at `root`, and its processor time for each, in microseconds.

    As `execute`.
    """
    figures = execute(root, case, runs, config)
    return runs / figures["seconds"], figures["cpu"] / runs * 1e6


def execute(root: Path, case: Case = CASES[0], runs: int = RUNS, config: str = "") -> dict[str, float]:
    """Have the checkout at `root` execute runs, which must all succeed at their first attempt.

    Args:
        config: further settings, as TOML.

    Returns:
        `seconds` from the first start to the last one, `cpu` of the process in that time, seconds; and when the first
        one was: `began`, unix seconds.
    """
    names = [f"noop_{number}" for number in range(case.handlers)]
    files = {
        "wrapper.py": WRAPPER,
        "case.toml": f"runs = {runs}\nhandlers = {json.dumps(names)}\n",
        "plugins/noop.py": PLUGIN + "".join(HANDLER.format(kind=case.kind, name=name) for name in names),
    }
    with receiver(f'{config}[plugins]\ndirectory = "plugins"\n', files, "wrapper.py", root) as server:
        figures = _figures(server)
        wait_until_all_succeeded(server, runs)
    return figures


def _figures(server: Server) -> dict[str, float]:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if (server.folder / "figures").exists():
            return dict(json.loads((server.folder / "figures").read_text()))
        time.sleep(0.05)
    raise SystemExit("Not every run was started in time.")


def wait_until_all_succeeded(server: Server, runs: int) -> None:
    """Wait until this number of runs has succeeded, each at its first attempt."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    states: dict[str, int] = {}
    while time.monotonic() < deadline:
        states = dict(server.query("SELECT state, count(*) FROM runs WHERE attempt = 1 GROUP BY state"))
        if states == {"succeeded": runs}:
            return
        time.sleep(0.05)
    raise SystemExit(f"Not every run succeeded at its first attempt: {states}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="a checkout of an earlier state")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--runs", type=int, default=RUNS)
    args = parser.parse_args()
    medians = []
    for case in CASES:
        print(case.name, flush=True)
        medians.append(compare(partial(measure, case=case, runs=args.runs), args.other.resolve(), args.pairs))
    return 0 if min(medians) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
