"""A process is killed while two of its turns are being written: every run ends, and none succeeds twice."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from receiver.model.delivery import Delivery
from receiver.store import inbox
from tests.acceptance.support import Site, until
from tests.postgresql_server import PostgresqlServer
from tests.stores import open_store, postgresql_address, query

SLOTS, RUNS, KILLS = 512, 6000, 3

WORK = """
import os
import signal
from pathlib import Path

from receiver import Context, Event, handler

file = Path(__file__).parent.parent / "last"
last = int(file.read_text()) if file.exists() else None
calls = 0


@handler(on=Event)
async def work(event: Event, ctx: Context[None]) -> None:
    global calls
    calls += 1
    if calls == last:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    """A database with pending runs."""
    with postgresql_address(postgresql) as address:
        database = open_store(address)
        for start in range(0, RUNS, 1000):
            database.transact(inbox.accept, [_delivery(number) for number in range(start, start + 1000)])
        database.close()
        yield address


def _delivery(number: int) -> Delivery:
    return Delivery(
        event_id=f"evt_{number:032x}", source="aitts", type="job.completed", key=f"job_{number}",
        job_id=f"job_{number}", origin="webhook", payload="{}", body=b"{}", headers="[]", key_id=None, skew=None,
        received_at=1.7e9 + number, handlers=("work",), quarantined=False,
    )  # fmt: skip


def test_a_process_killed_with_two_turns_in_the_air_loses_nothing(site: Site, address: str) -> None:
    rng = random.Random(20)
    site.plugin("work", WORK).configure(
        f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{address}"', dispatch=f"concurrency = {SLOTS}", handlers=""
    )
    for _ in range(KILLS):
        (site.folder / "last").write_text(str(rng.randrange(SLOTS, 3 * SLOTS)))
        assert site.launch().wait() == -signal.SIGKILL
    (site.folder / "last").unlink()
    server = site.start()
    states = "SELECT state, count(*) AS n FROM runs GROUP BY state"
    until("every run has succeeded", lambda: query(address, states) == [{"state": "succeeded", "n": RUNS}])
    assert server.stop() == 0
    rows = query(address, "SELECT event_id, outcome FROM attempts")
    succeeded = Counter(row["event_id"] for row in rows if row["outcome"] == "succeeded")
    assert len(succeeded) == RUNS
    assert set(succeeded.values()) == {1}
    assert {row["outcome"] for row in rows} == {"succeeded", "crashed"}
    assert Counter(row["outcome"] for row in rows)["crashed"] <= KILLS * SLOTS
