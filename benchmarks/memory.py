"""Resident memory: idle, and the peak while a 500 MB file is fetched, verified and stored."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time

from rich.console import Console
from rich.table import Table

from benchmarks.processes import Server, receiver
from receiver.simulator import GeneratedWav, Simulator

FILE_BYTES = 500_000_000
IDLE_GOAL = 100e6
GROWTH_GOAL = 40e6
TIMEOUT_SECONDS = 120


def main() -> bool:
    return asyncio.run(_measure())


async def _measure() -> bool:
    async with Simulator(seed=1, job_seconds=None) as sim:
        config = f"""
        [handlers.save_audio]
        [sources.aitts]
        provider = "aitts"
        base_url = "{sim.base_url}"
        api_key = "{sim.api_key}"
        signing_secrets = ["{sim.signing_secret}"]
        allow_private_addresses = true
        """
        with receiver(config) as first:
            first_start = first.rss()  # the migration library was imported to create the store
        with receiver(config) as server:
            sim.webhook_url = f"http://127.0.0.1:{server.port}/webhooks/aitts"
            fresh = server.rss()
            await _fetch(sim, server, 1_000_000)  # modules that a first fetch imports stay in memory
            idle = server.rss()
            began = time.perf_counter()
            sha256 = await _fetch(sim, server, FILE_BYTES)
            seconds = time.perf_counter() - began
            peak = server.peak_rss()
        if sha256 != GeneratedWav(bytes=FILE_BYTES).sha256():
            raise SystemExit("The file that was stored is not the file that was served.")
    table = Table(title="Resident memory, MB")
    for column in ("idle, first start", "idle", "idle after a fetch", "peak with 500 MB", "over idle", "MB/s"):
        table.add_column(column, justify="right")
    mega = [f"{value / 1e6:.0f}" for value in (first_start, fresh, idle, peak, peak - fresh)]
    table.add_row(*mega, f"{FILE_BYTES / seconds / 1e6:.0f}")
    Console().print(table)
    return max(first_start, fresh, idle) < IDLE_GOAL and peak - fresh <= GROWTH_GOAL


async def _fetch(sim: Simulator, server: Server, size: int) -> str:
    """Fetch a job's audio of this size; return the SHA-256 that the receiver recorded."""
    job = await sim.submit("A long story.", output_format="wav")
    sim.jobs.set_audio(job, GeneratedWav(bytes=size))
    sim.finish(job)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        with sqlite3.connect(f"file:{server.folder}/data/receiver.db?mode=ro", uri=True) as connection:
            row = connection.execute(
                "SELECT runs.result FROM runs JOIN events ON events.id = runs.event_id "
                "WHERE events.job_id = ? AND runs.state = 'succeeded'",
                (job,),
            ).fetchone()
        if row:
            return str(json.loads(row[0])["sha256"])
        await asyncio.sleep(0.05)
    raise SystemExit("The file was not fetched in time.")


if __name__ == "__main__":
    main()
