"""What is outstanding is counted exactly, and what has finished costs nothing, however much of it there is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, insert, select, text

from receiver.model.delivery import Delivery
from receiver.model.ids import new_job_id
from receiver.store import gauges
from receiver.store.database import Database
from receiver.store.gauges import GaugeValues, QueueDepth
from receiver.store.inbox import Receipt
from receiver.store.schema import events, jobs, runs, signing_keys
from receiver.store.states import RunState
from tests.unit.store.plans import plans_of, require_flat, steps_of

NOW = 1_700_000_000.0
SOURCES = ["aitts", "other", "never"]

Accept = Callable[..., list[Receipt]]
Make = Callable[..., Delivery]


@pytest.fixture
def filled(database: Database, accept: Accept, delivery: Make) -> Database:
    """Some of everything that is outstanding."""
    accept(
        delivery("a", received_at=NOW - 50, handlers=("log", "notes")),
        delivery("b", received_at=NOW - 40, handlers=("log", "notes", "other")),
        delivery("c", received_at=NOW + 9, handlers=("late",)),
        delivery("d", quarantined=True),
        delivery("e", source="other", quarantined=True),
    )

    def fill(connection: Connection) -> None:
        states = {("a", "log"): "dead", ("b", "log"): "cancelled", ("a", "notes"): "succeeded", ("b", "other"): "dead"}
        for (key, handler), state in states.items():
            event = connection.execute(text("SELECT id FROM events WHERE key = :key"), {"key": key}).scalar_one()
            changed = text("UPDATE runs SET state = :state WHERE event_id = :event AND handler = :handler")
            connection.execute(changed, {"state": state, "event": event, "handler": handler})
        for n, (source, state) in enumerate(
            [
                ("aitts", "watching"), ("aitts", "watching"), ("aitts", "submitting"), ("aitts", "completed"),
                ("aitts", "unknown"), ("other", "unknown"), ("other", "failed"),
            ]
        ):  # fmt: skip
            connection.execute(insert(jobs).values(job(source, state, NOW - 100 + n, n)))
        connection.execute(insert(signing_keys).values(source="other", key_id="k", first_used_at=NOW, last_used_at=NOW))

    database.transact(fill)
    return database


def job(source: str, state: str, at: float, number: int) -> dict[str, object]:
    return {
        "id": new_job_id(at, number),
        "source": source,
        "job_id": f"{source}-{number}",
        "state": state,
        "created_at": at,
        "due_at": at,
        "deadline_at": at + 600,
        "ended_at": None if state in ("watching", "submitting") else at + 1,
    }


def finish(database: Database, many: int) -> None:
    """Store so many events that are over, each with two runs and a job that has ended."""

    def fill(connection: Connection) -> None:
        event = dict(connection.execute(select(events).where(events.c.key == "a")).one()._mapping)
        ids = [f"evt_{n:032x}" for n in range(9000, 9000 + many)]
        connection.execute(
            insert(events),
            [event | {"id": id, "key": id, "payload": {}, "headers": [], "received_at": NOW - 60} for id in ids],
        )
        connection.execute(
            insert(runs),
            [
                {"event_id": id, "handler": name, "state": RunState.SUCCEEDED, "due_at": NOW - 60}
                for id in ids
                for name in ("log", "notes")
            ],
        )
        connection.execute(insert(jobs), [job("aitts", "completed", NOW - 60, n) for n in range(9000, 9000 + many)])

    database.transact(fill)


def test_every_figure_is_exact(filled: Database) -> None:
    finish(filled, 3)
    assert filled.query(gauges.read, SOURCES, NOW) == GaugeValues(
        runs=QueueDepth(
            {
                ("log", "dead"): 1,
                ("notes", "pending"): 1,
                ("other", "dead"): 1,
                ("late", "pending"): 1,
            },
            oldest_due_at=NOW - 40,
        ),
        jobs={
            ("aitts", "watching"): 2,
            ("aitts", "submitting"): 1,
            ("aitts", "unknown"): 1,
            ("other", "unknown"): 1,
        },
        silent={"aitts": 0.0, "other": 0.0, "never": 0.0},
        quarantined={"aitts": 1, "other": 1},
    )


def test_a_source_is_silent_since_its_oldest_open_job_or_since_it_was_heard(filled: Database) -> None:
    def forget(connection: Connection) -> None:
        connection.execute(text("DELETE FROM signing_keys"))

    filled.transact(forget)
    assert filled.query(gauges.silent_seconds, SOURCES, NOW) == {"aitts": 100.0, "other": 0.0, "never": 0.0}


def test_an_empty_store_has_nothing_outstanding(database: Database) -> None:
    assert database.query(gauges.read, [], NOW) == GaugeValues(QueueDepth({}, None), {}, {}, {})


@pytest.mark.sqlite
def test_what_has_finished_costs_no_step(filled: Database) -> None:
    require_flat(plans_of(filled, gauges.read, SOURCES, NOW))
    before = steps_of(filled, gauges.read, SOURCES, NOW)
    finish(filled, 500)
    assert steps_of(filled, gauges.read, SOURCES, NOW) == before
