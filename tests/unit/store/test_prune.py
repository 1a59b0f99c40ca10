"""Retention: what is finished and old goes, with everything that hangs on it; what is open or recent stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from receiver.model.delivery import Delivery
from receiver.model.slots import FreeSlots, Slots
from receiver.store import artifacts, runs, schema
from receiver.store.artifacts import ArtifactRow
from receiver.store.database import Database
from receiver.store.inbox import Receipt
from receiver.store.prune import delete_events, find_events
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from tests.claiming import claim_due

NOW = 1_700_000_000.0
OLD = NOW - 100.0

Accept = Callable[..., list[Receipt]]
Make = Callable[..., Delivery]


def counts(database: Database) -> dict[str, int]:
    def run(connection: Connection) -> dict[str, int]:
        return {
            name: connection.execute(select(func.count()).select_from(getattr(schema, name))).scalar_one()
            for name in ("events", "runs", "attempts", "artifacts")
        }

    return database.query(run)


def prune(database: Database, before: float) -> int:
    """Delete what is found in one page; what is found and not deleted, and the other way round, fails the test."""
    page = database.query(find_events, before, None, 1000)
    every = database.query(lambda connection: list(connection.execute(select(schema.events.c.id)).scalars()))
    deleted = database.transact(delete_events, before, every)
    assert (deleted, page.after) == (len(page.ids), None)
    return deleted


def slots() -> FreeSlots:
    return Slots(999, {"save_audio": None}).free({})


def end_all(database: Database, state: RunState, ended: float) -> None:
    for held in database.transact(claim_due, slots(), "me", NOW, NOW + 30):
        database.transact(runs.finish, [RunResult(held, "me", str(state), state, ended, due_at=NOW)])


def artifact(event_id: str, **values: Any) -> ArtifactRow:
    default: dict[str, Any] = {
        "n": 0, "address": "/audio/a.wav", "bytes": 10, "sha256": "00", "content_type": "audio/wav", "format": "wav",
        "duration": 1.5, "sample_rate": 24_000, "channels": 1, "fetched_at": NOW, "fetch_seconds": 0.1,
    }  # fmt: skip
    return ArtifactRow(event_id, **(default | values))


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.DEAD, RunState.CANCELLED])
def test_a_finished_old_event_goes_with_its_runs_attempts_and_artifact_rows(
    database: Database, accept: Accept, delivery: Make, state: RunState
) -> None:
    accept(first := delivery(received_at=OLD))
    end_all(database, state, OLD + 1)
    database.transact(artifacts.put_all, [artifact(first.event_id)])
    assert counts(database) == {"events": 1, "runs": 1, "attempts": 1, "artifacts": 1}
    assert prune(database, NOW) == 1
    assert counts(database) == {"events": 0, "runs": 0, "attempts": 0, "artifacts": 0}


def test_an_open_event_stays_however_old(database: Database, accept: Accept, delivery: Make) -> None:
    accept(delivery(received_at=0.0))
    assert prune(database, NOW) == 0
    database.transact(claim_due, slots(), "me", NOW, NOW + 30)
    assert prune(database, NOW) == 0
    assert counts(database)["events"] == 1


def test_an_event_with_one_open_run_among_finished_ones_stays(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(delivery(received_at=OLD, handlers=("save_audio", "log")))
    end_all(database, RunState.SUCCEEDED, OLD)
    assert prune(database, NOW) == 0


def test_a_quarantined_event_is_not_a_finished_one(database: Database, accept: Accept, delivery: Make) -> None:
    accept(delivery(received_at=0.0, quarantined=True))
    assert prune(database, NOW) == 0
    assert counts(database)["events"] == 1


def test_a_recent_event_stays_and_the_bound_is_exact(database: Database, accept: Accept, delivery: Make) -> None:
    accept(delivery("a", received_at=NOW, handlers=()), delivery("b", received_at=NOW - 0.001, handlers=()))
    assert prune(database, NOW) == 1
    assert counts(database)["events"] == 1


def test_a_dead_letter_stays_as_long_as_its_death_is_recent(database: Database, accept: Accept, delivery: Make) -> None:
    accept(delivery(received_at=OLD))
    end_all(database, RunState.DEAD, NOW)
    assert prune(database, NOW) == 0
    assert prune(database, NOW + 1) == 1


def test_a_pruned_events_late_copy_is_a_new_event(database: Database, accept: Accept, delivery: Make) -> None:
    """Which is why the configuration allows no retention within a provider's retry window."""
    accept(delivery(received_at=OLD, handlers=()))
    prune(database, NOW)
    assert accept(delivery(handlers=()))[0].duplicate is False


def test_an_event_that_was_replayed_since_it_was_found_stays(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(first := delivery(received_at=OLD), delivery("b", received_at=OLD, handlers=()))
    end_all(database, RunState.SUCCEEDED, OLD)
    found = database.query(find_events, NOW, None, 10).ids
    assert len(found) == 2
    database.transact(runs.replay, [(first.event_id, "save_audio")], NOW)
    assert database.transact(delete_events, NOW, found) == 1
    assert counts(database)["runs"] == 1


def test_an_artifact_fetched_again_replaces_its_row(database: Database, accept: Accept, delivery: Make) -> None:
    accept(first := delivery())
    assert database.query(artifacts.get, first.event_id) is None
    database.transact(artifacts.put_all, [artifact(first.event_id)])
    database.transact(artifacts.put_all, [artifact(first.event_id, n=1)])
    database.transact(artifacts.put_all, [again := artifact(first.event_id, bytes=20, duration=None)])
    assert database.query(artifacts.get, first.event_id) == again
    assert counts(database)["artifacts"] == 2
    database.transact(
        artifacts.put_all, [again, last := artifact(first.event_id, bytes=30), artifact(first.event_id, n=2)]
    )
    assert database.query(artifacts.get, first.event_id) == last
    assert counts(database)["artifacts"] == 3
