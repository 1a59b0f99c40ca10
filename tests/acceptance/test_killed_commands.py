"""Commands that work on a store in PostgreSQL are killed in the middle: nothing is lost, and the next one goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.migrate import migrate
from tests.acceptance.support import Site, clean_environment, until
from tests.patience import PATIENCE
from tests.postgresql_server import PostgresqlServer
from tests.stores import execute, open_store, query

pytestmark = pytest.mark.postgresql

EVENTS = 3000
MIDDLE = f"evt_{EVENTS // 2:032x}"
OPEN = 5
BLOCKED = """
    SELECT count(*) AS n FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name = 'tts-receiver'
"""


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    """An empty database."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


def fill(address: str) -> None:
    """Old events whose runs are dead, but a few that are open."""
    database = open_store(address)
    migrate(database)
    for first in range(0, EVENTS, 500):
        made = [
            Delivery(
                event_id=f"evt_{number:032x}", source="aitts", type="job.failed", key=f"{number}", job_id=f"{number}",
                origin="webhook", payload="{}", body=b"{}", headers="[]", key_id=None, skew=0.0, received_at=1.0,
                handlers=("log",),
            )
            for number in range(first, first + 500)
        ]  # fmt: skip
        database.transact(inbox.accept, made)
    database.close()
    ended = "UPDATE runs SET state = 'dead', attempt = 1, finished_at = 1 WHERE event_id >= :first"
    execute(address, ended, first=f"evt_{OPEN:032x}")


def counted(address: str, what: str) -> int:
    return int(query(address, f"SELECT count(*) AS n FROM {what}")[0]["n"])


def recorded(address: str) -> list[tuple[str, str, int]]:
    """What the audit log has, in order: operation, state, how many."""
    rows = query(address, "SELECT operation, state, changed FROM audit_entries ORDER BY id")
    return [(row["operation"], row["state"], row["changed"]) for row in rows]


@contextmanager
def held(address: str, *statements: str) -> Iterator[None]:
    """Another session's transaction, in whose way a command comes; it is rolled back."""
    with psycopg.connect(address.replace("+psycopg", "")) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        yield
        connection.rollback()


def kill_when_blocked(site: Site, address: str, *command: str) -> None:
    """Start a command; kill it when it waits for another session's transaction."""
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver", *command, "--config", str(site.config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=site.folder,
        env=clean_environment(),
    )
    try:
        until(f"{command} waits", lambda: process.poll() is not None or query(address, BLOCKED)[0]["n"])
        assert process.poll() is None
    finally:
        process.kill()
        process.wait(PATIENCE)


def test_an_upgrade_a_replay_and_a_prune_that_are_killed_are_completed_by_the_next(site: Site, address: str) -> None:
    site.configure(f'[store]\nurl = "{address}"')

    with held(address, "CREATE TABLE runs (n int)"):
        kill_when_blocked(site, address, "db", "upgrade")
    until("its transaction has ended", lambda: not query(address, BLOCKED)[0]["n"])
    assert counted(address, "information_schema.tables WHERE table_schema = 'public'") == 0
    done = site.command("db", "upgrade")
    assert done.returncode == 0, done.stderr
    fill(address)

    dead = "runs WHERE state = 'dead'"
    with held(address, f"SELECT 1 FROM runs WHERE event_id = '{MIDDLE}' FOR UPDATE"):
        kill_when_blocked(site, address, "runs", "replay", "--state", "dead", "--yes")
    left = counted(address, dead)
    assert 0 < left < EVENTS - OPEN
    assert recorded(address) == [("replay_runs", "unfinished", EVENTS - OPEN - left)]
    done = site.command("runs", "replay", "--state", "dead", "--yes")
    assert (done.returncode, counted(address, dead)) == (0, 0), done.stderr
    assert counted(address, "runs WHERE state = 'pending'") == EVENTS
    assert recorded(address)[1:] == [("replay_runs", "completed", left)]

    execute(address, "UPDATE runs SET state = 'succeeded' WHERE event_id >= :first", first=f"evt_{OPEN:032x}")
    with held(address, f"SELECT 1 FROM events WHERE id = '{MIDDLE}' FOR UPDATE"):
        kill_when_blocked(site, address, "prune", "--yes")
    left = counted(address, "events")
    assert OPEN < left < EVENTS
    assert recorded(address)[2:] == [("prune", "unfinished", EVENTS - left)]
    done = site.command("prune", "--yes")
    assert (done.returncode, counted(address, "events"), counted(address, "runs")) == (0, OPEN, OPEN), done.stderr
    assert recorded(address)[3:] == [("prune", "completed", left - OPEN)]
