"""The clock of the machine was an hour ahead, and is right again: what a server left takes up its work at once.

The first server is killed, and then every time that it stored is put an hour ahead: so it would have written them.
"""

from __future__ import annotations

from tests.acceptance.support import SOURCE, Provider, Site, completed, deliver, until
from tests.stores import execute

HOUR = 3600
PLUGINS = '[plugins]\ndirectory = "plugins"'
LATER = """
from pathlib import Path

from receiver import Context, JobCompleted, RetryLater, handler

OPEN = Path(__file__).parent.parent / "open"


@handler(on=JobCompleted)
async def later(event: JobCompleted, ctx: Context[None]) -> str:
    if not OPEN.exists():
        raise RetryLater("The shop is closed.", after=1)
    return "delivered"
"""
TIMES = {
    "events": ("received_at",),
    "runs": ("due_at", "lease_until", "started_at"),
    "jobs": ("created_at", "due_at", "deadline_at", "lease_until"),
    "source_state": ("pause_until", "next_request_at", "heard_at"),
    "signing_keys": ("first_used_at", "last_used_at"),
}


def put_ahead(site: Site) -> None:
    for table, columns in TIMES.items():
        execute(site.store, f"UPDATE {table} SET " + ", ".join(f"{name} = {name} + {HOUR}" for name in columns))


def test_runs_and_polls_of_an_hour_ahead_are_taken_up_at_once(site: Site, provider: Provider) -> None:
    job = provider.submit("A long story.")
    site.plugin("later", LATER)
    site.configure(PLUGINS, base_url=provider.sim.base_url, handlers="", source="poll = { max_seconds = 2 }")
    server = site.start()
    taken = deliver(server.public, completed("told"))
    assert taken is not None
    event = taken[1]["event"]
    assert site.command("jobs", "watch", "--source", SOURCE, job.id).returncode == 0
    until("it is tried and waits", lambda: site.run_of(event, "later")["error"])
    until("it is polled", lambda: site.rows("SELECT * FROM jobs WHERE polls > 0"))
    server.kill()
    put_ahead(site)
    (site.folder / "open").touch()
    provider.finish(job)

    server = site.start()
    moved = server.wait_for("clock.times_corrected")
    assert moved["runs"] == 1
    site.wait_for_state(event, "later", "succeeded")
    row = until("the job has ended", lambda: site.rows("SELECT * FROM jobs WHERE state = 'completed'"))[0]
    site.wait_for_state(row["event_id"], "later", "succeeded")
    assert server.stop() == 0
