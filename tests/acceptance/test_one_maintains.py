"""Two workers on one store, as real processes: one of them deletes old events, and the other once that one is dead."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.migrate import migrate
from tests.acceptance.support import Server, Site, until
from tests.stores import Store, address_of, open_store, query

EVENTS = 15

OFTEN = """
import asyncio
from receiver import Event, handler
from receiver.engine import clock_trust, maintenance

maintenance.INTERVAL_SECONDS = 0.05
clock_trust.UPTIME_SECONDS = 0.0

@handler(on=Event)
async def work(event, ctx):
    await asyncio.sleep(3000)
"""
"""Maintenance many times a second instead of once an hour, with a clock that is trusted at once; a run that hangs."""


@pytest.fixture
def store_event(store: Store) -> Callable[..., None]:
    """Stores an event, by default one that is older than any retention."""

    def store_it(number: int, received_at: float = 1.0, handlers: tuple[str, ...] = ()) -> None:
        values: dict[str, Any] = {"payload": "{}", "body": b"{}", "headers": "[]", "key_id": None, "skew": 0.0}
        delivery = Delivery(
            event_id=f"evt_{number:032x}", source="aitts", type="job.failed", key=str(number), job_id=str(number),
            origin="webhook", received_at=received_at, handlers=handlers, **values,
        )  # fmt: skip
        with closing(open_store(store)) as database:
            migrate(database)
            database.transact(inbox.accept, [delivery])

    return store_it


def pruned(worker: Server) -> int:
    """How many events this process has deleted."""
    return sum(line["events"] for line in worker.lines("events.pruned"))


@pytest.mark.every_database
def test_of_two_workers_one_deletes_old_events_and_the_other_once_it_is_dead(
    site: Site, store: Store, store_event: Callable[..., None]
) -> None:
    site.plugin("often", OFTEN).configure(
        f'[plugins]\ndirectory = "plugins"\n[store]\nurl = "{address_of(store)}"',
        dispatch="lease_seconds = 3600",
        handlers="",
    )
    store_event(0, handlers=("work",))  # before: no process announces it
    first = site.start("--only", "worker")
    until("the run has started", lambda: query(store, "SELECT 1 AS n FROM runs WHERE started_at IS NOT NULL"))
    second = site.start("--only", "worker")
    for number in range(1, EVENTS + 1):
        store_event(number)
        until("it is deleted", lambda number=number: pruned(first) + pruned(second) >= number)
    assert [pruned(first), pruned(second)] == [EVENTS, 0], "the one that started first maintains the store"
    first.kill()
    store_event(EVENTS + 1)
    until("the other deletes it", lambda: pruned(second) == 1)
    assert len(query(store, "SELECT id FROM events")) == 1, "the event whose run is not over is kept"
