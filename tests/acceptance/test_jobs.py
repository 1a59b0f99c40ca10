"""`jobs` by hand and by a running server, in real processes; a server killed while it polls leaves no job behind."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from receiver.simulator import Job
from tests.acceptance.support import SOURCE, Provider, Site, sha256_at_the_origin, sha256_of, until
from tests.stores import execute

QUICK = "poll = { requests_per_second = 1000 }"
AUDIO = "[handlers.save_audio]"


def configured(site: Site, provider: Provider) -> Site:
    return site.configure(base_url=provider.sim.base_url, handlers=AUDIO, source=QUICK, dispatch="lease_seconds = 0.5")


def job_rows(site: Site) -> dict[str, dict[str, Any]]:
    return {row["job_id"]: row for row in site.rows("SELECT * FROM jobs")}


def wait_for_job(site: Site, job: str, state: str) -> dict[str, Any]:
    until(f"{job} is {state}", lambda: job_rows(site)[job]["state"] == state)
    return job_rows(site)[job]


def named(site: Site, *command: str) -> Any:
    """What a command prints with --json."""
    done = site.command("jobs", *command, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_job_named_by_hand_is_watched_polled_and_its_audio_stored(site: Site, provider: Provider) -> None:
    job, running, unwanted = provider.completed_job(), provider.submit("Later."), provider.submit("Never mind.")
    configured(site, provider)
    server = site.start()
    first = named(site, "watch", "--source", SOURCE, job.id, running.id, unwanted.id)
    assert [row["job_id"] for row in first["items"]] == [job.id, running.id, unwanted.id]
    row = wait_for_job(site, job.id, "completed")
    site.wait_for_state(row["event_id"], "save_audio", "succeeded")
    [file] = site.final_files()
    assert sha256_of(file) == sha256_at_the_origin(job)
    wait_for_poll(site, running)
    again, listed, shown, cancelled = site.together(
        ["jobs", "watch", "--source", SOURCE, job.id],
        ["jobs", "list", "--state", "completed", "--json"],
        ["jobs", "show", job.id, "--source", SOURCE, "--json"],
        ["jobs", "cancel", "--source", SOURCE, unwanted.id],
    )
    assert again.stdout == f"{job.id}: already known, completed\n"
    assert [row["job_id"] for row in json.loads(listed.stdout)["items"]] == [job.id]
    found = json.loads(shown.stdout)
    assert (found["state"], found["polls"], found["event_id"]) == ("completed", 1, row["event_id"])
    assert found["ended_at"].startswith("20")
    assert cancelled.returncode == 0
    polls = job_rows(site)[unwanted.id]["polls"]

    # Put far off, as a long wait does, then asked for by hand.
    execute(site.store, "UPDATE jobs SET due_at = due_at + 9999 WHERE job_id = :id", id=running.id)
    provider.finish(running)
    done = site.command("jobs", "poll", "--source", SOURCE, running.id)
    assert (done.returncode, done.stdout) == (0, f"{running.id}: due now\n")
    wait_for_job(site, running.id, "completed")
    assert (job_rows(site)[unwanted.id]["state"], job_rows(site)[unwanted.id]["polls"]) == ("cancelled", polls)
    assert server.stop() == 0
    assert len(site.rows("SELECT * FROM events")) == 2


def wait_for_poll(site: Site, job: Job) -> None:
    until(f"{job.id} is polled", lambda: job_rows(site)[job.id]["polls"] > 0)


def test_a_command_that_cannot_do_it_says_so_and_what_to_do(site: Site, provider: Provider) -> None:
    server = configured(site, provider).start()
    watched = site.command("jobs", "watch", "--source", SOURCE, "a-job")
    assert (watched.returncode, watched.stdout) == (0, "a-job: now watched\n")
    unknown, nothing, cancel, poll, blank, state = site.together(
        ["jobs", "watch", "--source", "aits", "a-job"],
        ["jobs", "show", "--source", SOURCE, "no-such-job"],
        ["jobs", "cancel", "--source", SOURCE, "no-such-job"],
        ["jobs", "poll", "--source", SOURCE, "no-such-job"],
        ["jobs", "watch", "--source", SOURCE, " "],
        ["jobs", "list", "--state", "watchin"],
    )
    assert all(done.returncode != 0 for done in (unknown, nothing, cancel, poll, blank, state))
    assert "There is no source 'aits'" in unknown.stderr
    assert SOURCE in unknown.stderr
    assert "jobs list" in nothing.stderr
    assert "No job no-such-job of source aitts is known" in cancel.stderr
    assert "No job no-such-job of source aitts is known" in poll.stderr
    assert "is not a job id" in blank.stderr
    assert "watching" in state.stderr
    server.kill()
    site.configure(api_key=None, handlers=AUDIO)
    keyless = site.command("jobs", "watch", "--source", SOURCE, "another-job")
    assert keyless.returncode != 0
    assert "has no api_key" in keyless.stderr
    assert list(job_rows(site)) == ["a-job"]


@pytest.mark.parametrize("where", ["while the answers are on their way", "between the ends"])
def test_after_a_sigkill_during_polls_every_job_is_settled_with_one_event(
    site: Site, provider: Provider, where: str
) -> None:
    jobs = [provider.submit(f"Hello {number}.") for number in range(24)]
    for job in jobs[::3]:
        provider._run(end_badly(provider, job))
    for job in [job for job in jobs if not job.ended]:
        provider.finish(job)
    server = configured(site, provider).start()
    if where == "between the ends":
        provider.sim.force("slow_status", 6, value=0.05)
        provider.sim.force("slow_status", 1000, value=600)  # the others hang until the kill
    else:
        provider.sim.force("slow_status", 8, value=600)
    site.command("jobs", "watch", "--source", SOURCE, *(job.id for job in jobs))
    if where == "between the ends":
        until("some have ended", lambda: sum(row["state"] != "watching" for row in job_rows(site).values()) >= 4)
    else:
        until("polls are on their way", lambda: provider.sim.requests["aitts.status"] >= 8)
    server.kill()
    left = sum(row["state"] == "watching" for row in job_rows(site).values())
    assert left > 0
    provider.sim.clear_forced()
    second = site.start()
    until("all are settled", lambda: all(row["state"] in ("completed", "failed") for row in job_rows(site).values()))
    until(
        "all handlers are done",
        lambda: all(row["state"] == "succeeded" for row in site.rows("SELECT state FROM runs")),
    )
    assert second.stop() == 0
    events = site.rows("SELECT * FROM events")
    assert sorted(event["job_id"] for event in events) == sorted(job.id for job in jobs)
    assert {event["conflict"] for event in events} == {None}
    of_event = {event["id"]: event for event in events}
    for row in job_rows(site).values():
        event = of_event[row["event_id"]]
        assert (event["job_id"], event["type"]) == (row["job_id"], f"job.{row['state']}")
    assert len(site.final_files()) == 16


async def end_badly(provider: Provider, job: Job) -> None:
    await asyncio.sleep(0)
    provider.sim.fail(job.id)
