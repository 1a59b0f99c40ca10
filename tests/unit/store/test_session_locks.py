"""Processes that share a PostgreSQL store: which are dead, who hears of changes, and connections that are cut."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from receiver.model.role import Role
from receiver.store import processes
from receiver.store.changes import Change
from receiver.store.database import Database
from receiver.store.postgresql.heartbeats import HEARTBEAT_SECONDS, MISSED_SECONDS, Heartbeats
from receiver.store.postgresql.listener import DEBOUNCE_SECONDS
from receiver.store.postgresql.processes import (
    CONFIRM_SECONDS,
    IS_HELD,
    QUIET_SECONDS,
    RECONNECTED_SECONDS,
    SessionLocks,
)
from receiver.store.processes import ProcessInfo
from tests.clocks import SetClock
from tests.patience import PATIENCE
from tests.stores import address_of
from tests.unit.store.conftest import NOW

pytestmark = pytest.mark.postgresql

CHILD = """
import sys
from pathlib import Path
from random import Random
from receiver.clock import SystemClock
from receiver.store.backends import backend_of
locks = backend_of(sys.argv[1], Path("/")).processes("child", SystemClock(), Random())
locks.join()
print("joined", flush=True)
sys.stdin.read()
"""


def info(owner: str) -> ProcessInfo:
    return ProcessInfo(owner, Role.ALL, "host", 1, "1.0", NOW)


class Seen:
    """A process with the test's clock."""

    def __init__(self, database: Database, owner: str) -> None:
        self.clock = SetClock(1000.0)
        self.statements = 0
        self.database = database
        self.locks: Any = SessionLocks(  # type: ignore[attr-defined]
            database._backend._url, owner, self.clock, random.Random(0)
        )
        self.words: list[Change | None] = []
        self.received = threading.Event()
        self.locks.subscribe(self._hear)

    def _hear(self, word: Change | None) -> None:
        self.words.append(word)
        self.received.set()

    def join(self) -> Seen:
        self.locks.join()
        self.database.transact(processes.write_heartbeat, info(self.locks.owner), NOW)
        return self

    def join_again(self) -> None:
        """Once the server knows that the connection before has ended."""
        pause = threading.Event()
        for _ in range(int(PATIENCE * 50)):
            with contextlib.suppress(OSError):
                return self.locks.join()
            pause.wait(0.02)
        pytest.fail("the lock of the connection before is kept")

    def wait_for(self, received: Callable[[list[Change | None]], bool]) -> None:
        while not received(self.words):
            assert self.received.wait(PATIENCE)
            self.received.clear()

    def find_dead(self, seconds: float = 0.0) -> list[str]:
        self.clock.time += seconds
        return list(self.locks.find_dead())


@pytest.fixture
def seen(database: Database) -> Iterator[Callable[[str], Seen]]:
    made: list[Seen] = []

    def make(owner: str) -> Seen:
        made.append(Seen(database, owner))
        return made[-1]

    yield make
    for process in made:
        process.locks.close()


def test_a_process_that_is_killed_is_found_dead_once_and_one_that_leaves_is_not(
    database: Database, seen: Callable[[str], Seen]
) -> None:
    a, b = seen("a").join(), seen("b").join()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, address_of(database).replace("+psycopg", "")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"joined\n"
    database.transact(processes.write_heartbeat, info("child"), NOW)
    assert a.find_dead() == a.find_dead(2 * CONFIRM_SECONDS) == []
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    wait_until_free(database, "child")
    a.locks.announce(Change.BUSY)
    assert a.find_dead() == [], "its connection may only have been cut"
    assert a.find_dead(2 * CONFIRM_SECONDS) == ["child"]
    b.locks.announce(Change.BUSY)
    assert b.find_dead() == b.find_dead(2 * CONFIRM_SECONDS) == [], "another process has found it"
    database.transact(processes.remove, "child")
    a.locks.remove("child")
    assert a.find_dead(2 * CONFIRM_SECONDS) == []
    b.locks.leave()
    database.transact(processes.remove, "b")
    assert a.find_dead(QUIET_SECONDS) == a.find_dead(2 * CONFIRM_SECONDS) == []
    assert [row["owner"] for row in database.query(processes.listed)] == ["a"]


def wait_until_free(database: Database, owner: str) -> None:
    """Wait until the server knows that the connection of a process has ended."""
    free = f"SELECT count(*) FROM processes WHERE owner = '{owner}' AND NOT {IS_HELD}"
    pause = threading.Event()
    for _ in range(int(PATIENCE * 50)):
        if database.query(lambda connection: connection.execute(text(free.replace(":", "\\:"))).scalar()):
            return
        pause.wait(0.02)
    pytest.fail(f"{owner} keeps its lock")


def test_a_process_whose_connection_is_cut_takes_its_lock_again_and_tells_that_it_may_have_missed_something(
    database: Database, seen: Callable[[str], Seen]
) -> None:
    a, b = seen("a").join(), seen("b").join()
    terminate(database)
    for process in (a, b):
        process.wait_for(lambda words: words == [None, None])  # when it was cut, and when it has another one
        process.join_again()
        assert process.locks.is_visible
    b.locks.close()
    a.locks.announce(Change.BUSY)
    wait_until_free(database, "b")
    assert a.find_dead() == a.find_dead(2 * CONFIRM_SECONDS) == [], (
        "just after a loss of its own it takes nobody for dead"
    )
    assert a.find_dead(RECONNECTED_SECONDS) == ["b"]


def terminate(database: Database) -> None:
    """Cut the connections that listen, as an operator can."""
    database.transact(
        lambda connection: connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid != pg_backend_pid()"
        )
    )


def test_a_death_is_confirmed_as_soon_as_it_can_be_and_nobody_hurries_after_that(
    database: Database, seen: Callable[[str], Seen]
) -> None:
    a, b = seen("a").join(), seen("b").join()
    b.locks.close()
    wait_until_free(database, "b")
    assert a.locks.confirm_seconds == math.inf
    assert a.find_dead() == []
    assert a.locks.confirm_seconds == CONFIRM_SECONDS
    assert a.find_dead(CONFIRM_SECONDS / 2) == []
    assert a.locks.confirm_seconds == CONFIRM_SECONDS / 2
    assert a.find_dead(CONFIRM_SECONDS / 2) == ["b"]
    assert a.locks.confirm_seconds == math.inf


def test_a_death_that_another_process_has_dealt_with_is_not_found_again(
    database: Database, seen: Callable[[str], Seen]
) -> None:
    a, b = seen("a").join(), seen("b").join()
    b.locks.close()
    wait_until_free(database, "b")
    assert a.find_dead() == []
    call = a.locks._listener.call
    a.locks._listener.call = lambda work: call(lambda connection: work(Interrupted(connection, database, "b")))
    assert a.find_dead(2 * CONFIRM_SECONDS) == []
    database.transact(processes.write_heartbeat, info("b"), NOW)
    wait_until_free(database, "b")  # its lock was not kept


class Interrupted:
    """A connection: before it takes a lock, another process ends the leases of `owner` and releases that lock."""

    def __init__(self, connection: Any, database: Database, owner: str) -> None:
        self._connection, self._database, self._owner = connection, database, owner

    def execute(self, statement: str, parameters: Any) -> Any:
        if "pg_try_advisory_lock" in statement:
            self._database.transact(processes.remove, self._owner)
        return self._connection.execute(statement, parameters)


def test_what_is_announced_while_the_connection_is_cut_is_sent_by_the_next_one(
    database: Database, seen: Callable[[str], Seen]
) -> None:
    a, b = seen("a").join(), seen("b").join()
    cut: list[Change | None] = []

    def announce_at_the_cut(word: Change | None) -> None:
        if not cut:
            a.locks.announce(Change.JOBS)
        cut.append(word)

    def cut_while_it_works(connection: Any) -> None:
        with psycopg.connect(address_of(database).replace("+psycopg", ""), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 60000)", (connection.pgconn.backend_pid,))
        a.locks.announce(Change.RUNS)

    a.locks.subscribe(announce_at_the_cut)
    a.locks._listener.call(cut_while_it_works)
    b.wait_for(lambda words: {Change.RUNS, Change.JOBS} <= set(words))
    assert cut[0] is None


def test_what_is_announced_last_is_sent_before_a_process_leaves(seen: Callable[[str], Seen]) -> None:
    a, b = seen("a").join(), seen("b").join()
    for change in (Change.RUNS, Change.LEASES):  # the second within the time in which there is one notification
        a.locks.announce(change)
    a.locks.leave()
    b.wait_for(lambda words: {Change.RUNS, Change.LEASES} <= set(words))


def test_a_change_is_heard_by_the_others_and_a_burst_is_few_notifications(seen: Callable[[str], Seen]) -> None:
    a, b = seen("a").join(), seen("b").join()
    began = time.monotonic()
    for _ in range(500):
        a.locks.announce(Change.JOBS)
    b.wait_for(lambda words: Change.JOBS in words)
    a.locks.announce(Change.RUNS)
    b.wait_for(lambda words: Change.RUNS in words)
    assert 1 <= b.words.count(Change.JOBS) <= (time.monotonic() - began) / DEBOUNCE_SECONDS + 1
    assert a.words == []


def test_processes_that_hold_nothing_are_quiet_and_look_rarely(database: Database, seen: Callable[[str], Seen]) -> None:
    a = seen("a").join()
    assert not a.locks.quiet
    a.find_dead()
    assert a.locks.quiet
    a.locks._listener.call = lambda _: pytest.fail("a query")
    for _ in range(int(QUIET_SECONDS) - 1):
        assert a.find_dead(1.0) == []
    a.locks.announce(Change.RUNS)
    assert not a.locks.quiet


def test_behind_a_pooler_a_holder_whose_heartbeat_stands_still_is_dead_whatever_its_clock_says(
    database: Database,
) -> None:
    clock = SetClock(1000.0)
    beats = Heartbeats(database._backend._url, "a", clock)  # type: ignore[attr-defined]
    for owner in ("frozen", "living", "idle"):
        database.transact(processes.write_heartbeat, info(owner), NOW + 1e6)
    database.transact(hold_jobs, ["frozen", "living"])
    found = []
    for beat in range(int(MISSED_SECONDS / HEARTBEAT_SECONDS) + 2):
        found.append(beats.find_dead())
        clock.time += HEARTBEAT_SECONDS
        database.transact(processes.write_heartbeat, info("living"), NOW + beat)
    beats.close()
    assert found[0] == found[1] == found[2] == found[3] == []
    assert found[-1] == ["frozen"]


def hold_jobs(connection: Any, owners: list[str]) -> None:
    from receiver.store import job_leases, jobs
    from receiver.store.leases import Lease

    for owner in owners:
        jobs.watch(connection, owner, "aitts", owner, NOW, NOW, NOW + 3600)
        assert job_leases.claim(connection, "aitts", 1, NOW, Lease(owner, NOW + 60))
