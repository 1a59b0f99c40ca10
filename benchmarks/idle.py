"""How many queries idle replicas send to PostgreSQL in a minute: `python -m benchmarks.idle`.

Replicas of each role share a database, with a handler and four sources whose jobs are polled. Each has an open stream
of events. There is no work, and nobody asks for their health or metrics. The server logs each query with the name of
its replica; BEGIN, with the settings that come with it, is a query, and so is COMMIT. Exit 1 if a replica sends more
than the goal.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

from benchmarks.postgresql import CONFIGURATION, database
from benchmarks.processes import receiver
from receiver.store.changes import QUIET_POLL_SECONDS
from tests.postgresql_server import running_server

REPLICAS = {"all_1": [], "all_2": [], "intake": ["--only", "intake"], "worker": ["--only", "worker"]}
SECONDS = QUIET_POLL_SECONDS
SETTLE_SECONDS = 30.0
"""Until what a start does is over, and the replicas know that nobody holds leases."""
GOAL = 30.0
LOGGED = """
log_statement = all
log_min_messages = warning
log_line_prefix = 'replica=%a '
"""
CONFIG = """
[store]
url = "{url}"
[audio]
url = "file:///tmp"
[handlers.save_audio]
"""
SOURCES = 4
SOURCE = """
[sources.aitts_{number}]
provider = "aitts"
signing_secrets = ["benchmark-secret-0123456789abcdef"]
api_key = "tts_benchmark"
"""
_QUERY = re.compile(r"replica=(.*?) LOG:  (?:statement|execute [^:]*): *(.*)")


def queries(seconds: float, settle_seconds: float) -> dict[str, Counter[str]]:
    """By replica, the first lines of the queries that it sends in a minute, on average; none is left out."""
    sources = "".join(SOURCE.format(number=number) for number in range(SOURCES))
    with running_server(CONFIGURATION + LOGGED) as server, database(server) as url, ExitStack() as stack:
        for name, options in REPLICAS.items():
            config = CONFIG.format(url=f"{url}&application_name={name}")
            started = stack.enter_context(receiver(config + sources, options=options))
            stack.enter_context(urlopen(f"http://127.0.0.1:{started.private_port}/v1/stream"))
        time.sleep(settle_seconds)
        before = _logged(server.log)
        time.sleep(seconds)
        made = {name: found - before[name] for name, found in _logged(server.log).items()}
    return {name: Counter({line: n * 60 / seconds for line, n in made[name].items()}) for name in REPLICAS}


def _logged(log: Path) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {name: Counter() for name in REPLICAS}
    for name, query in _QUERY.findall(log.read_text()):
        if name in found:
            found[name][query.strip()[:100] or "(a statement of several lines)"] += 1
    return found


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--settle-seconds", type=float, default=SETTLE_SECONDS)
    parser.add_argument("--show", action="store_true", help="print the queries")
    args, _ = parser.parse_known_args()
    found = queries(args.seconds, args.settle_seconds)
    for name, counts in found.items():
        print(f"{name}: {counts.total():.1f} queries a minute (goal: under {GOAL:.0f})")
        for line, count in counts.most_common() if args.show else ():
            print(f"  {count:5.1f}  {line}")
    return all(counts.total() < GOAL for counts in found.values())


if __name__ == "__main__":
    sys.exit(not main())
