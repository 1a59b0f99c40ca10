"""On PostgreSQL a death is suspected before it is certain: it is confirmed as soon as it can be."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from receiver.engine.membership import POLL_INTERVAL_SECONDS, Membership
from receiver.model.role import Role
from receiver.store import processes
from receiver.store.backends import backend_of
from receiver.store.processes import ProcessInfo
from tests.integration.engine_support import NOW, ManualClock, Signal
from tests.integration.intake_support import Lines
from tests.stores import Store, open_store, query

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("store_kind", ["postgresql"])]


def info(owner: str) -> ProcessInfo:
    return ProcessInfo(owner, Role.ALL, "host", 1, "1.0", NOW)


async def test_a_death_is_confirmed_before_it_is_time_to_look_again(store: Store, signal: Signal, lines: Lines) -> None:
    clock = ManualClock(signal)
    database = open_store(store)
    database.start()
    await database.write(processes.write_heartbeat, info("killed"), NOW)
    own = backend_of(str(store), Path("/")).processes("me", clock, random.Random(0))
    membership = Membership(database, own, info("me"), [], clock)
    await membership.join()
    await signal.until(lambda: clock.seconds)
    [seconds] = clock.seconds
    assert seconds < POLL_INTERVAL_SECONDS
    assert lines.of("process.dead") == []
    clock.advance(seconds)
    await signal.until(lambda: clock.seconds[POLL_INTERVAL_SECONDS])
    assert [line["owner"] for line in lines.of("process.dead")] == ["killed"]
    await membership.leave()
    database.close()
    assert query(store, "SELECT owner FROM processes") == []
