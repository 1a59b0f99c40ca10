"""A command that changes many rows of a store in PostgreSQL rarely asks whether a receiver is running."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from receiver.cli.bulk_changes import run_in_batches
from receiver.engine.batch_writer import MAX_BATCH, BatchWriter
from receiver.engine.pruning import Pruner
from receiver.model.delivery import Delivery
from receiver.store import inbox
from receiver.store.prune import EVENTS
from tests.postgresql_server import PostgresqlServer
from tests.stores import open_store, postgresql_address, query

pytestmark = pytest.mark.postgresql

BATCHES = 20
SESSIONS = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"


class Silent:
    """Shows nothing."""

    def summary(self) -> str:
        return ""

    def resume_hint(self) -> str:
        return ""


def delivery(number: int) -> Delivery:
    return Delivery(
        event_id=f"evt_{number:032x}", source="aitts", type="job.completed", key=f"job_{number}", job_id=None,
        origin="webhook", payload="{}", body=b"{}", headers="[]", key_id=None, skew=0.0, received_at=1.0, handlers=(),
        quarantined=False,
    )  # fmt: skip


def test_a_prune_makes_few_sessions_however_many_batches_it_has(postgresql: PostgresqlServer) -> None:
    """For each it connected, which took longer than to delete a batch, and the pause is several times as long."""

    async def prune(writer: BatchWriter) -> None:
        await Pruner(writer, lambda deleted: None).prune(EVENTS, 2.0)

    with postgresql_address(postgresql) as address:
        database = open_store(address)
        database.transact(inbox.accept, [delivery(number) for number in range(BATCHES * MAX_BATCH)])
        [before] = query(address, SESSIONS)
        run_in_batches(database, None, lambda _: 0, prune, Silent(), nullcontext())
        database.close()
        [after] = query(address, SESSIONS)
        assert query(address, "SELECT count(*) AS n FROM events") == [{"n": 0}]
    assert after["sessions"] - before["sessions"] < BATCHES
