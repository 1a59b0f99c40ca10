"""A handler that ends its process: real processes die of it, and only its own run pays."""

from __future__ import annotations

import signal

from tests.acceptance.support import Server, Site, completed, deliver, until

HANDLER = """
import asyncio
import os
import signal
from pathlib import Path

from receiver import Context, JobCompleted, handler

GO = Path(__file__).parent.parent / "go"


@handler(on=JobCompleted, attempts=1)
async def work(event: JobCompleted, ctx: Context[None]) -> str:
    if event.job_id == "poison":
        if not GO.exists():
            await asyncio.sleep(0.2)
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)
    while not GO.exists():
        await asyncio.sleep(0.02)
    return "done"
"""

INNOCENT = [f"innocent-{n}" for n in range(10)]


def send(server: Server, job: str) -> None:
    answer = deliver(server.public, completed(job))
    assert answer is not None
    assert answer[0] == 202


def jobs(site: Site, state: str) -> set[str]:
    rows = site.rows("SELECT job_id FROM runs JOIN events ON id = event_id WHERE runs.state = :state", state=state)
    return {row["job_id"] for row in rows}


def test_a_run_that_ends_its_process_takes_no_other_run_with_it(site: Site) -> None:
    site.plugin("work", HANDLER).configure('[plugins]\ndirectory = "plugins"', handlers="")
    server = site.start()
    for job in INNOCENT:
        send(server, job)
    until("all at work", lambda: jobs(site, "running") == set(INNOCENT))
    deliver(server.public, completed("poison"))  # it may die of it before the answer is out
    assert server.wait() == 3

    assert site.launch().wait() == 3  # perhaps before it listens
    server = site.launch()  # its start finds what the last process held
    crashed = "SELECT crashes, state, attempt - forgiven AS counted FROM runs WHERE crashes = 2"
    until("all are suspects", lambda: len(site.rows(crashed)) == 11)
    assert {row["state"] for row in site.rows(crashed)} <= {"pending", "running"}
    assert len(jobs(site, "running")) <= 1
    listed = site.command("runs", "list", "--state", "pending").stdout
    assert "pending, suspect" in listed
    assert "suspect: it waits" in listed

    (site.folder / "go").touch()
    while not jobs(site, "dead"):
        server = next_life(site, server)
    until("only the poison is dead", lambda: jobs(site, "dead") == {"poison"})
    send(server, "fresh")
    until("all others succeeded", lambda: jobs(site, "succeeded") == {*INNOCENT, "fresh"})
    counted = "SELECT DISTINCT attempt - forgiven AS counted FROM runs WHERE state = 'succeeded'"
    assert site.rows(counted) == [{"counted": 1}]
    assert server.stop() == 0


def next_life(site: Site, server: Server) -> Server:
    """Return the process that runs: this one, or another once this one has died of the poison."""
    until("it died, or there is nothing to die of", lambda: server.process.poll() is not None or jobs(site, "dead"))
    if server.process.poll() is None:
        return server
    assert server.process.returncode in (3, -signal.SIGKILL)
    return site.start()
