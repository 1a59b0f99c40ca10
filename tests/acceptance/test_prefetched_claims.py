"""A process is killed while it holds runs that have not started: they cost nothing and start once, in the next one."""

from __future__ import annotations

import signal
from collections import Counter
from typing import Any

from tests.acceptance.support import Site, completed, deliver, until

HANDLER = """
import asyncio
import os
import signal
from pathlib import Path

from receiver import Context, JobCompleted, handler

HERE = Path(__file__).parent.parent


@handler(on=JobCompleted)
async def work(event: JobCompleted, ctx: Context[None]) -> int:
    while not (HERE / "go").exists():
        await asyncio.sleep(0.01)
    with (HERE / "starts").open("a") as file:
        file.write(event.job_id + "\\n")
    if event.job_id == "job-60" and not (HERE / "again").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt
"""

JOBS = [f"job-{number}" for number in range(120)]
SLOTS = 4


def runs(site: Site) -> dict[str, dict[str, Any]]:
    """Job to its run."""
    rows = site.rows("SELECT job_id, runs.* FROM runs JOIN events ON id = event_id")
    return {row["job_id"]: row for row in rows}


def test_what_a_killed_process_had_claimed_and_not_started_costs_nothing_and_starts_once(site: Site) -> None:
    site.plugin("work", HANDLER)
    site.configure('[plugins]\ndirectory = "plugins"', handlers="", dispatch=f"concurrency = {SLOTS}")
    server = site.start()
    for job in JOBS:
        answer = deliver(server.public, completed(job))
        assert answer is not None
        assert answer[0] == 202
    (site.folder / "go").touch()
    assert server.wait() == -signal.SIGKILL

    left = runs(site)
    prefetched = [job for job, row in left.items() if row["state"] == "running" and row["started_at"] is None]
    assert len(prefetched) > SLOTS
    assert {left[job]["attempt"] for job in prefetched} == {1}
    started = Counter((site.folder / "starts").read_text().split())
    assert not started.keys() & set(prefetched)

    (site.folder / "again").touch()
    server = site.start()
    until("all succeeded", lambda: {row["state"] for row in runs(site).values()} == {"succeeded"})
    after = runs(site)
    assert {(after[job]["attempt"], after[job]["forgiven"], after[job]["result"]) for job in prefetched} == {(2, 1, 1)}
    assert Counter((site.folder / "starts").read_text().split()).items() >= dict.fromkeys(prefetched, 1).items()
    tried = site.rows("SELECT job_id, outcome FROM attempts JOIN events ON id = event_id")
    assert sorted(row["outcome"] for row in tried if row["job_id"] in prefetched) == ["succeeded"] * len(prefetched)
    crashed = {row["job_id"] for row in tried if row["outcome"] == "crashed"}
    assert "job-60" in crashed
    assert len(crashed) <= SLOTS
    [line] = list(server.lines("dispatch.claims_released"))
    assert line["runs"] == len(prefetched)
    assert server.stop() == 0
