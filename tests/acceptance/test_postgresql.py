"""A receiver whose store is in PostgreSQL, as real processes: it stores, runs, outlives the server, and keeps quiet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.acceptance.support import Sender, Site, completed, deliver, get, signed_headers, until
from tests.postgresql_server import PostgresqlServer
from tests.stores import query

PASSWORD = "correct-horse-battery"


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    """An empty database."""
    name = postgresql.create()
    yield postgresql.url(name, PASSWORD)
    postgresql.drop(name)


def status(base: str, job: str) -> int:
    body = completed(job)
    answered = deliver(base, body, signed_headers(body))
    assert answered is not None
    return answered[0]


def test_deliveries_are_stored_and_run_and_a_restart_of_the_server_loses_none(
    site: Site, address: str, postgresql: PostgresqlServer
) -> None:
    site.configure(f'[store]\nurl = "{address}"')
    receiver = site.start()
    assert [status(receiver.public, f"job_{n}") for n in range(5)] == [202] * 5
    assert status(receiver.public, "job_0") in (200, 202)
    done = "SELECT count(*) AS n FROM runs WHERE state = 'succeeded'"
    until("every run has succeeded", lambda: query(address, done) == [{"n": 5}])

    postgresql.stop()
    try:
        with closing(Sender()) as sender:
            for job in ("job_during", "job_0", "job_during"):
                answered = sender.send(receiver.public, completed(job))
                assert (answered or (None,))[0] == 503
                assert int(sender.retry_after or 0) > 0
        assert get(f"{receiver.private}/v1/events")[0] == 503
        code, text = get(f"{receiver.private}/readyz")
        assert (code, json.loads(text)["ready"]) == (503, False)
    finally:
        postgresql.start()
    assert status(receiver.public, "job_after") == 202, "it waits for nothing before it connects again"
    until("the run has succeeded", lambda: query(address, done) == [{"n": 6}])

    assert site.command("check", "--deep").returncode == 0
    listed = site.command("events", "list", "--json")
    assert "job_after" in listed.stdout
    assert PASSWORD not in get(f"{receiver.private}/metrics")[1]
    for path in Path("/proc").glob("[0-9]*/cmdline"):  # of our processes, and of the server's
        with suppress(OSError):
            assert PASSWORD.encode() not in path.read_bytes()
    assert receiver.stop() == 0
    assert query(address, "SELECT max(duplicates) AS n FROM events WHERE key = 'job_0'") == [{"n": 1}]
    assert PASSWORD not in site.everything_written()


def test_a_server_that_refuses_is_named_without_the_password(site: Site, address: str) -> None:
    missing = address.replace("receiver_", "missing_")
    site.configure(f'[store]\nurl = "{missing}"')
    done = site.command("check")
    assert done.returncode == 1
    assert "does not exist" in done.stdout + done.stderr
    assert PASSWORD not in site.everything_written()


def test_a_start_without_a_server_ends_and_says_what_to_check(site: Site) -> None:
    site.configure('[store]\nurl = "postgresql://receiver@127.0.0.1:1/receiver"')
    ended = site.command("serve")
    assert ended.returncode == 1
    assert "cannot be reached" in ended.stderr
    assert "check that the server runs, and that the host and the port of the address are right" in " ".join(
        ended.stderr.split()
    )
