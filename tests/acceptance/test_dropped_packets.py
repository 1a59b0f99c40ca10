"""The network to PostgreSQL passes nothing on, and closes no connection: everything waits, and recovers by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.acceptance.support import SOURCE, Provider, Sender, Site, completed, deliver, get, until
from tests.chaos.proxy import Proxy
from tests.postgresql_server import PostgresqlServer
from tests.stores import query

HANDLER = """
import time
from pathlib import Path

from receiver import Context, JobCompleted, handler

HERE = Path(__file__).parent.parent


@handler(on=JobCompleted)
def work(event: JobCompleted, ctx: Context[None]) -> str:
    (HERE / f"begun-{event.job_id}").touch()
    while event.job_id == "held" and not (HERE / "go").exists():
        time.sleep(0.01)
    return "done"
"""
EVENTS = "SELECT key FROM events"
OPEN = "SELECT event_id FROM runs WHERE state != 'succeeded'"
SUCCEEDED = "SELECT event_id FROM attempts WHERE outcome = 'succeeded'"


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    """A database, past the proxy."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


@pytest.fixture
def network(postgresql: PostgresqlServer) -> Iterator[Proxy]:
    """What the receivers reach the server through."""
    proxy = Proxy(postgresql.socket)
    yield proxy
    proxy.close()


def through(site: Site, network: Proxy, address: str, **options: str) -> Site:
    more = f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{network.address_of(address)}"'
    return site.plugin("work", HANDLER).configure(more, handlers="", dispatch="lease_seconds = 4", **options)


def refused(base: str, job: str) -> bool:
    """Whether the delivery was answered 503 with the time of the next attempt."""
    with closing(Sender()) as sender:
        answered = sender.send(base, completed(job))
        return answered is not None and answered[0] == 503 and int(sender.retry_after or 0) > 0


@pytest.mark.parametrize("packets", ["late", "lost"])
def test_nothing_is_lost_while_the_network_drops_packets(
    site: Site, provider: Provider, address: str, network: Proxy, packets: str
) -> None:
    job = provider.submit("To be polled.")
    through(site, network, address, base_url=provider.sim.base_url, source="poll = { requests_per_second = 1000 }")
    receiver = site.start()
    assert site.command("jobs", "watch", "--source", SOURCE, job.id).returncode == 0
    until("the job is polled", lambda: provider.sim.job_requests["status", job.id])
    accepted = deliver(receiver.public, completed("held"))
    assert accepted is not None
    assert accepted[0] == 202
    until("its handler works", (site.folder / "begun-held").exists)

    network.stall() if packets == "late" else network.drop()
    jobs = [f"refused_{number}" for number in range(4)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        assert list(pool.map(lambda job: refused(receiver.public, job), jobs)) == [True] * len(jobs)
    assert receiver.wait_for("store.unavailable")["level"] == "error"
    assert get(f"{receiver.private}/readyz")[0] == 503
    polls = provider.sim.job_requests["status", job.id]
    provider.finish(job)
    (site.folder / "go").touch()
    assert refused(receiver.public, jobs[0])
    assert provider.sim.job_requests["status", job.id] == polls, "polling waits"
    network.resume()

    for name in jobs:
        until("it is stored", lambda name=name: (deliver(receiver.public, completed(name)) or (0,))[0] == 202)
    expected = {"held", job.id, *jobs}
    until("every event is stored", lambda: {row["key"] for row in query(address, EVENTS)} == expected)
    until("every run has succeeded", lambda: not query(address, OPEN))
    assert len(query(address, SUCCEEDED)) == len(query(address, EVENTS)) == len(expected)
    receiver.wait_for("store.available")
    code, text = get(f"{receiver.private}/readyz")
    assert (code, json.loads(text)["ready"]) == (200, True)
    assert receiver.stop() == 0


def test_another_worker_takes_up_the_runs_of_one_that_is_cut_off(
    site: Site, address: str, network: Proxy, postgresql: PostgresqlServer
) -> None:
    """Its lock is free only when the server has found it dead: until then its leases decide."""
    cut_off = through(site, network, address).start()
    with closing(Proxy(postgresql.socket)) as whole:
        through(site, whole, address)
        assert (deliver(cut_off.public, completed("held")) or (0,))[0] == 202
        until("its handler works", (site.folder / "begun-held").exists)
        network.drop()
        (site.folder / "begun-held").unlink()
        other = site.start("--only", "worker")
        until("the other one has begun it", (site.folder / "begun-held").exists)
        (site.folder / "go").touch()
        other.wait_for("run.succeeded")
        network.resume()
        assert cut_off.wait_for("run.lease_lost")["job"] == "held"
        assert len(query(address, SUCCEEDED)) == 1
        assert not list(cut_off.lines("run.succeeded"))
        assert (cut_off.stop(), other.stop()) == (0, 0)
