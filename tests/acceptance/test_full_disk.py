"""The disk under PostgreSQL is full: deliveries are refused in time, work waits, and all goes on once there is room."""

from __future__ import annotations

import contextlib
import itertools
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from tests.acceptance.support import SOURCE, Provider, Sender, Site, completed, deliver, get, until
from tests.postgresql_server import PostgresqlServer, running_server
from tests.server_folder import reason_for_no_small_disk
from tests.stores import query

pytestmark = pytest.mark.postgresql

MEGABYTES = 160
CONFIGURATION = "min_wal_size = 32MB\nmax_wal_size = 32MB\nshared_buffers = 16MB\n"
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
    return "x" * 20_000 if event.job_id == "held" else "done"
"""
OPEN = "SELECT event_id FROM runs WHERE state != 'succeeded'"
SUCCEEDED = "SELECT event_id FROM attempts WHERE outcome = 'succeeded'"


@pytest.fixture
def server() -> Iterator[PostgresqlServer]:
    """A server with a small disk of its own."""
    if reason := reason_for_no_small_disk():
        pytest.skip(reason)
    with running_server(CONFIGURATION, MEGABYTES) as server:
        yield server


@contextmanager
def full_disk(server: PostgresqlServer) -> Iterator[Callable[[], None]]:
    """Nothing more can be written to the server's disk. The server removes files: the function fills it again."""
    ballast = server.folder / "ballast"

    def fill() -> None:
        with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

    fill()
    yield fill
    ballast.unlink()


def end_by_full_log(server: PostgresqlServer) -> None:
    """Let the server need another file of its write-ahead log, for which there is no room: it ends."""
    while is_up(server):
        with contextlib.suppress(psycopg.Error), psycopg.connect(server.url("postgres"), autocommit=True) as session:
            session.execute("SELECT pg_switch_wal()")
            session.execute("SELECT pg_logical_emit_message(true, 'test', '')")


def is_up(server: PostgresqlServer) -> bool:
    try:
        psycopg.connect(server.url("postgres")).close()
    except psycopg.OperationalError:
        return False
    return True


def start_again(server: PostgresqlServer) -> bool:
    """What a supervisor does; whether the server is up."""
    if not is_up(server):
        with contextlib.suppress(subprocess.CalledProcessError):  # its last process is still about to end
            server.start()
    return is_up(server)


def send(sender: Sender, base: str, job: str) -> bool:
    """Deliver something that needs room: True if it was acknowledged, False if refused until later."""
    answered = sender.send(base, completed(job, note=random.Random(job).randbytes(20_000).hex()))
    assert answered is not None
    assert answered[0] in (202, 503)
    assert answered[0] == 202 or int(sender.retry_after or 0) > 0
    return answered[0] == 202


@pytest.mark.parametrize("ended", [False, True], ids=["tables", "log"])
def test_nothing_acknowledged_is_lost_when_the_disk_of_the_server_is_full(
    site: Site, provider: Provider, server: PostgresqlServer, ended: bool
) -> None:
    address = server.url(server.create())
    job = provider.submit("To be polled.")
    site.plugin("work", HANDLER).configure(
        f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{address}"',
        handlers="",
        base_url=provider.sim.base_url,
        source="poll = { requests_per_second = 1000 }",
    )
    receiver = site.start()
    assert site.command("jobs", "watch", "--source", SOURCE, job.id).returncode == 0
    until("the job is polled", lambda: provider.sim.job_requests["status", job.id])
    assert (deliver(receiver.public, completed("held")) or (0,))[0] == 202
    until("its handler works", (site.folder / "begun-held").exists)

    acknowledged, refused = {"held"}, set()
    with closing(Sender()) as sender:
        with full_disk(server) as fill:
            for number in range(1000):
                name = f"job_{number}"
                (acknowledged if send(sender, receiver.public, name) else refused).add(name)
                if refused:
                    break
            assert receiver.wait_for("delivery.not_stored")["outcome"] == "store_full"
            assert "free space on the server's disk" in receiver.wait_for("store.unavailable")["detail"]
            if ended:
                end_by_full_log(server)
            provider.finish(job)
            (site.folder / "go").touch()
            later = map("during_{}".format, itertools.count())

            def is_refused() -> bool:
                fill()
                name = next(later)
                (acknowledged if send(sender, receiver.public, name) else refused).add(name)
                return name in refused and get(f"{receiver.private}/readyz")[0] == 503

            until("deliveries are refused, and the receiver is not ready", is_refused)
        if ended:
            until("the server is up", lambda: start_again(server))
        for name in sorted(refused):
            until("it is stored", lambda name=name: send(sender, receiver.public, name))
    expected = acknowledged | refused | {job.id}
    until("every event is stored", lambda: {row["key"] for row in query(address, "SELECT key FROM events")} == expected)
    until("every run has succeeded", lambda: not query(address, OPEN))
    assert len(query(address, SUCCEEDED)) == len(expected)
    until("the receiver is ready", lambda: get(f"{receiver.private}/readyz")[0] == 200)
    receiver.wait_for("store.available")
    assert receiver.stop() == 0
