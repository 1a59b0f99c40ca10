"""Replicas on one PostgreSQL, as real processes: what a killed one held is taken up at once, not when leases end."""

from __future__ import annotations

import json
import queue
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.clock import SystemClock
from receiver.store.backends import backend_of
from receiver.store.changes import Change
from tests.acceptance.support import Site, completed, deliver, until
from tests.patience import PATIENCE
from tests.postgresql_server import PostgresqlServer
from tests.stores import query

FIRST_ATTEMPT_HANGS = """
import asyncio
from receiver import Event, handler

@handler(on=Event)
async def work(event, ctx):
    if ctx.attempt == 1:
        await asyncio.sleep(3000)
"""


WORK = """
from receiver import Event, handler

@handler(on=Event)
async def work(event, ctx):
    pass
"""


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    """An empty database."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


def test_the_run_of_a_replica_that_is_killed_is_taken_up_by_the_other_long_before_its_lease_ends(
    site: Site, address: str
) -> None:
    site.plugin("work", FIRST_ATTEMPT_HANGS).configure(
        f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{address}"', dispatch="lease_seconds = 3600", handlers=""
    )
    replicas = [site.start() for _ in range(2)]
    roles = [(row["role"], row["pid"]) for row in query(address, "SELECT role, pid FROM processes")]
    assert sorted(roles) == sorted(("all", replica.process.pid) for replica in replicas)
    assert deliver(replicas[0].public, completed("job_1")) is not None
    holder = "SELECT pid FROM processes JOIN runs ON lease_owner = owner WHERE runs.started_at IS NOT NULL"
    [held] = until("the run has started", lambda: query(address, holder))
    [killed] = [replica for replica in replicas if replica.process.pid == held["pid"]]
    [other] = [replica for replica in replicas if replica is not killed]
    listed = json.loads(site.command("processes", "list", "--json").stdout)["items"]
    assert sorted((row["pid"], row["role"], row["runs"]) for row in listed) == sorted(
        (replica.process.pid, "all", int(replica is killed)) for replica in replicas
    )
    killed.kill()
    assert other.wait_for("process.dead")["runs"] == 1
    until("another attempt has started", lambda: query(address, "SELECT 1 AS n FROM runs WHERE attempt >= 2"))
    [left] = query(address, "SELECT pid FROM processes")
    assert left["pid"] == other.process.pid


@contextmanager
def hearing(address: str) -> Iterator[Callable[[Change], None]]:
    """Another process on the store; yields a function that waits until it is told of a change."""
    words: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
    processes = backend_of(address, Path("/")).processes("other", SystemClock(), random.Random(0))
    processes.subscribe(words.put)
    processes.join()

    def hear(change: Change) -> None:
        while words.get(timeout=PATIENCE) is not change:
            pass

    yield hear
    processes.leave()


def test_what_a_replica_and_a_command_make_due_is_told_to_the_other_processes(site: Site, address: str) -> None:
    site.configure(f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{address}"', handlers="").plugin("work", WORK)
    replica = site.start()
    with hearing(address) as hear:
        assert deliver(replica.public, completed("job_1")) is not None
        hear(Change.RUNS)
        until("the run has ended", lambda: query(address, "SELECT 1 AS n FROM runs WHERE state = 'succeeded'"))
        replica.stop()
        hear(Change.LEASES)
    for command in (
        ["runs", "replay", "--state", "succeeded", "--yes"],
        ["jobs", "watch", "--source", "aitts", "job_2"],
    ):
        with hearing(address) as hear:
            done = site.command(*command)
            assert done.returncode == 0, done.stderr
            hear(Change.RUNS)
