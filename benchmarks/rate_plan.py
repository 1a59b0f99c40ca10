"""When the end of a job is known with 10 requests in 15 minutes, in real time.

The provider is the simulated one, with the rate plan of a pay-as-you-go account: one bucket for all requests, or one
each for submits and polls. Both are measured at once, each with a receiver of its own, which has measured no job yet.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from benchmarks.processes import ROOT, Server, receiver
from receiver.simulator import Simulator

LIMIT, WINDOW_SECONDS = 10, 900.0
JOB_SECONDS = 40.0
GOAL_SECONDS = 90.0
PLANS: tuple[Literal["account", "endpoints"], ...] = ("account", "endpoints")


@dataclass(frozen=True)
class Known:
    """The result of one plan.

    Attributes:
        after: seconds from the submit until the end was known; None if it was not in time.
        requests: of the 10, with that for the audio.
    """

    plan: str
    after: float | None
    requests: int


async def measure(plan: Literal["account", "endpoints"], seconds: float, root: Path) -> Known:
    """Submit one job that takes so many seconds."""
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(
            Simulator(job_seconds=None, rate_limit=LIMIT, rate_window=WINDOW_SECONDS, rate_buckets=plan)
        )
        config = (
            f'[sources.aitts]\nprovider = "aitts"\nbase_url = "{sim.base_url}"\napi_key = "{sim.api_key}"\n'
            "allow_private_addresses = true\n[handlers.save_audio]\n"
        )
        run = receiver(config, root=root)
        server = await asyncio.to_thread(run.__enter__)
        stack.callback(run.__exit__, None, None, None)
        await asyncio.to_thread(submit, server)
        await sim.wait_until(lambda: len(list(sim.jobs)) > 0)
        [job] = sim.jobs
        await asyncio.sleep(seconds)
        sim.finish(job.id)
        after = None
        for _ in range(int(WINDOW_SECONDS)):
            rows = server.query("SELECT ended_at - submitted_at FROM jobs WHERE state = 'completed'")
            if rows:
                after = rows[0][0]
                break
            await asyncio.sleep(1)
        await asyncio.sleep(2)
        return Known(plan, after, sum(sim.requests[f"aitts.{name}"] for name in ("submit", "status", "audio")))


def submit(server: Server) -> None:
    """Submit a job to the receiver."""
    api = http.client.HTTPConnection("127.0.0.1", server.private_port, timeout=60)
    api.request("POST", "/v1/speech", json.dumps({"source": "aitts", "text": "Hello there.", "voice": "alloy"}))
    response = api.getresponse()
    if response.status not in (201, 202):
        raise SystemExit(f"{response.status} {response.read()!r}")


async def main(seconds: float, root: Path) -> bool:
    """Measure all plans; whether each reached the goal."""
    results = await asyncio.gather(*(measure(plan, seconds, root) for plan in PLANS))
    table = Table(title=f"A job of {seconds:g} s with {LIMIT} requests in {WINDOW_SECONDS / 60:g} minutes")
    for column in ("buckets", "known after", "requests"):
        table.add_column(column, justify="left" if column == "buckets" else "right")
    for known in results:
        after = "not in time" if known.after is None else f"{known.after:.1f} s"
        table.add_row(known.plan, after, str(known.requests))
    Console().print(table)
    return all(known.after is not None and known.after <= GOAL_SECONDS for known in results)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=JOB_SECONDS, help="how long the job takes")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure")
    args = parser.parse_args()
    sys.exit(0 if asyncio.run(main(args.seconds, args.root)) else 1)
