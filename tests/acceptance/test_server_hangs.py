"""PostgreSQL stops answering, and keeps every connection: deliveries are refused in time, and everything recovers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.acceptance.support import Sender, Site, completed, deliver, get, until
from tests.postgresql_server import PostgresqlServer
from tests.stores import query

DONE = (
    "SELECT key, duplicates, (SELECT count(*) FROM runs WHERE event_id = id AND state = 'succeeded') AS runs "
    "FROM events"
)


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


def refused(base: str, job: str) -> bool:
    """Whether the delivery was answered 503 with the time of the next attempt."""
    with closing(Sender()) as sender:
        answered = sender.send(base, completed(job))
        return answered is not None and answered[0] == 503 and int(sender.retry_after or 0) > 0


def test_a_server_that_hangs_delays_deliveries_only_for_a_while_and_loses_none(
    site: Site, address: str, postgresql: PostgresqlServer
) -> None:
    site.configure(f'[store]\nurl = "{address}"')
    receiver, stopped = site.start(), site.start()
    assert (deliver(receiver.public, completed("before")) or (0,))[0] == 202

    with postgresql.hanging():
        jobs = [f"hanging_{number}" for number in range(4)]
        with ThreadPoolExecutor(len(jobs) + 1) as pool:
            ended = pool.submit(stopped.stop)
            assert list(pool.map(lambda job: refused(receiver.public, job), jobs)) == [True] * len(jobs)
        assert receiver.wait_for("store.unavailable")["level"] == "error"
        code, text = get(f"{receiver.private}/readyz")
        assert (code, json.loads(text)["ready"]) == (503, False)
        code, text = get(f"{receiver.private}/metrics")
        assert (code, 'outcome="store_unavailable"' in text) == (200, True)
        assert "tts_receiver_store_read 0.0" in text
        assert "tts_receiver_runs_open" not in text
        assert ended.result() == 0

    for job in jobs:
        until("it is stored", lambda job=job: (deliver(receiver.public, completed(job)) or (0,))[0] == 202)
    expected = {"before", *jobs}
    until(
        "every run has succeeded once",
        lambda: {row["key"] for row in query(address, DONE) if row["runs"] == 1} == expected,
    )
    assert len(query(address, DONE)) == len(expected)
    receiver.wait_for("store.available")
    assert len(list(receiver.lines("store.available"))) == 1
    assert receiver.stop() == 0
