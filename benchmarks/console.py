"""How long the server takes to make each page of the console, with a long history, in SQLite and in PostgreSQL.

`python -m benchmarks.console` fills stores of 1,000,000 events, with their audio, errors, counts and changes. `--fill
URL` fills one and keeps it, and `--store URL` measures on one that was filled before.
Each page is requested 20 times by one client on loopback. Exit 1 if a page takes 200 ms or more in the middle.
"""

from __future__ import annotations

import argparse
import http.client
import signal
import statistics
import sys
import time
from contextlib import closing

from rich.console import Console
from rich.table import Table

from benchmarks.console_fill import fill_for_console
from benchmarks.history import stores
from benchmarks.history_fill import CONFIG, CUSTOMERS
from benchmarks.postgresql import durable_server
from benchmarks.processes import Server, receiver
from tests.acceptance.support import API_KEY, Provider
from tests.stores import Store, query

EVENTS = 1_000_000
REQUESTS = 20
GOAL_MS = 200.0
HANDLER = "narrate"
PLUGIN = """
from receiver import Context, JobCompleted, handler

@handler(on=JobCompleted)
async def narrate(event: JobCompleted, ctx: Context) -> None:
    pass
"""
SPEAKING = """
[sources.speaking]
provider = "aitts"
base_url = "{}"
allow_private_addresses = true
api_key = "{}"
"""
"""A source for the page Speak; its service is a simulator."""
NEWEST = {
    "event": "SELECT id FROM events ORDER BY id DESC LIMIT 1",
    "failed": "SELECT event_id AS id FROM runs WHERE state = 'dead' AND attempt = 3 ORDER BY event_id DESC LIMIT 1",
    "job": "SELECT id FROM jobs ORDER BY id DESC LIMIT 1",
    "operation": "SELECT id FROM operations ORDER BY id DESC LIMIT 1",
}


def pages(store: Store) -> dict[str, str]:
    """The path of each page beneath the console, by what it shows."""
    newest = {name: str(query(store, statement)[0]["id"]) for name, statement in NEWEST.items()}
    event, failed = f"/events/{newest['event']}", f"/events/{newest['failed']}"
    return {
        "overview": "",
        "events": "/events",
        "events, oldest first": "/events?order=oldest",
        "events, one source and state": "/events?source=studio&state=done",
        "events, one customer": f"/events?metadata=customer%3Dcustomer-{CUSTOMERS // 2}",
        "events, dead": "/events?state=dead",
        "events, words of an error": "/events?error_text=no+answer+within",
        "runs": "/runs",
        "runs, dead": "/runs?state=dead",
        "runs, dead for one reason": "/runs?state=dead&reason=no_order&order=oldest",
        "runs, one handler": "/runs?handler=narrate&state=succeeded",
        "jobs": "/jobs",
        "jobs, unknown": "/jobs?state=unknown&order=oldest",
        "audio": "/artifacts",
        "audio, oldest first": "/artifacts?order=oldest",
        "sources": "/sources",
        "changes": "/changes",
        "changes, by one": "/changes?actor=operator-1&order=oldest",
        "operations": "/operations",
        "operations, oldest first": "/operations?order=oldest",
        "one operation": f"/operations/{newest['operation']}",
        "one event": event,
        "one event, dead": failed,
        "edit an event": f"{failed}/edit",
        "one job": f"/jobs/{newest['job']}",
        "speak": "/speak",
        "replay all dead runs: dry run": "/runs/replay?state=dead",
        "replay what failed for a reason: dry run": "/runs/replay?state=dead&reason=no_order",
        "replay all events of a source: dry run": "/events/replay?source=studio",
    }


def measure(url: str) -> dict[str, list[float]]:
    """The milliseconds of each request, by page."""
    store = f'[store]\nurl = "{url}"\nretention_days = 3650\n[search]\nmetadata = ["customer"]\n'
    with closing(Provider()) as provider:
        sources = CONFIG + SPEAKING.format(provider.sim.base_url, API_KEY)
        config = f'{store}[audio]\nurl = "file:///tmp"\n[plugins]\ndirectory = "plugins"\n{sources}'
        with receiver(config, files={"plugins/narrate.py": PLUGIN}) as server:
            return {name: _times(server, path) for name, path in pages(url).items()}


def _times(server: Server, path: str) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", server.private_port, timeout=60)
    times = []
    for number in range(REQUESTS + 1):
        began = time.perf_counter()
        connection.request("GET", f"/console{path}")
        answer = connection.getresponse()
        body = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"{path} was answered with {answer.status}: {body.partition('<main')[2]}")
        if number:  # the first one imports the console, or compiles a template
            times.append((time.perf_counter() - began) * 1000)
    connection.close()
    return times


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--store", action="append", help="the address of a store that is filled")
    parser.add_argument("--fill", metavar="URL", help="the address of an empty store: fill it, and measure nothing")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if args.fill:
        fill_for_console(args.fill, args.events, HANDLER)
        return 0
    found: dict[str, dict[str, list[float]]] = {}
    if args.store:
        found = {url.partition(":")[0]: measure(url) for url in args.store}
    else:
        with durable_server() as server, stores(server) as urls:
            for kind, url in urls.items():
                fill_for_console(url, args.events, HANDLER)
                found[kind] = measure(url)
    table = Table("page", *(f"{kind}\np50 / max, ms" for kind in found), title="Pages of the console")
    slow = []
    for page in next(iter(found.values())):
        of = [(statistics.median(times[page]), max(times[page])) for times in found.values()]
        table.add_row(page, *(f"{middle:.0f} / {most:.0f}" for middle, most in of))
        slow += [page for middle, _ in of if middle >= GOAL_MS]
    Console(width=110).print(table)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
