"""Taking events in: one event per identity, one run per handler, and what becomes of the copies."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, exc, func, insert, select

from receiver.errors import StoreUnavailable
from receiver.model.delivery import Delivery
from receiver.store import inbox, views
from receiver.store.database import Database
from receiver.store.inbox import COMPLETED_AND_FAILED, DUPLICATE_DIFFERS, Receipt
from receiver.store.schema import attempts, events, runs, signing_keys
from receiver.store.writer import MAX_ITEMS
from tests.unit.store.plans import plans_of

NOW = 1_700_000_000.0

Accept = Callable[..., list[Receipt]]
Make = Callable[..., Delivery]


def event_row(database: Database, event_id: str) -> dict[str, Any]:
    found = database.query(views.get_event, event_id)
    assert found is not None
    return found


def count(database: Database, table: Any = events) -> int:
    def run(connection: Connection) -> int:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    return database.query(run)


def run_states(database: Database, event_id: str) -> dict[str, str]:
    return {run["handler"]: run["state"] for run in event_row(database, event_id)["runs"]}


def test_a_first_delivery_is_an_event_with_one_run_a_handler(
    database: Database, accept: Accept, delivery: Make
) -> None:
    first = delivery(handlers=("save_audio", "log"), payload='{"chars_charged":42}')
    assert accept(first) == [Receipt(first.event_id, duplicate=False, quarantined=False)]
    row = event_row(database, first.event_id)
    assert row["payload"] == {"chars_charged": 42}
    assert row["body"] == first.body
    assert row["headers"] == json.loads(first.headers)
    assert (row["key_id"], row["skew"], row["received_at"]) == ("key-1", 0.5, NOW)
    assert (row["status"], row["duplicates"], row["conflict"]) == ("accepted", 0, None)
    assert run_states(database, first.event_id) == {"save_audio": "pending", "log": "pending"}
    assert {run["due_at"] for run in row["runs"]} == {NOW}
    assert {run["attempt"] for run in row["runs"]} == {0}


def test_a_body_of_any_bytes_is_kept_as_it_came(database: Database, accept: Accept, delivery: Make) -> None:
    body = bytes(range(256)) * 3
    accept(first := delivery(body=body))
    assert event_row(database, first.event_id)["body"] == body


def test_an_event_that_no_handler_wants_is_stored_without_runs(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(first := delivery(type="test", job="d-1", handlers=()))
    assert run_states(database, first.event_id) == {}


def test_a_duplicate_bumps_a_counter_and_makes_no_run(database: Database, accept: Accept, delivery: Make) -> None:
    accept(first := delivery())
    for copies in (1, 2, 3):
        assert accept(delivery()) == [Receipt(first.event_id, duplicate=True, quarantined=False)]
        assert event_row(database, first.event_id)["duplicates"] == copies
    assert count(database) == 1
    assert count(database, runs) == 1


def test_a_duplicate_that_says_something_else_is_flagged_and_the_flag_stays(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(first := delivery())
    [receipt] = accept(delivery(payload='{"status":"other"}'))
    assert receipt.conflict == DUPLICATE_DIFFERS
    [receipt] = accept(delivery())
    assert receipt.conflict is None
    row = event_row(database, first.event_id)
    assert row["conflict"] == DUPLICATE_DIFFERS
    assert row["payload"] == {"status": "completed"}, "the first stays what it was"
    assert row["duplicates"] == 2


@pytest.mark.parametrize("one_batch", [True, False])
@pytest.mark.parametrize("origin", ["webhook", "poll", "submit"])
@pytest.mark.parametrize(
    ("body", "differs"),
    [
        (b'{"data":{"creditsUsed":3,"audioUrl":"b"}}', False),
        (b'{"data":{"creditsUsed":3},"more":1}', False),
        (b'{"data":{"creditsUsed":4}}', True),
    ],
)
def test_copies_of_one_origin_are_compared_whole(
    database: Database, accept: Accept, delivery: Make, origin: str, body: bytes, differs: bool, one_batch: bool
) -> None:
    first = delivery(origin=origin, body=b'{"data":{"creditsUsed":3,"audioUrl":"a"}}')
    second = delivery(origin=origin, body=body)
    receipts = accept(first, second) if one_batch else [*accept(first), *accept(second)]
    assert [receipt.conflict for receipt in receipts] == [None, DUPLICATE_DIFFERS if differs else None]
    assert event_row(database, first.event_id)["conflict"] == (DUPLICATE_DIFFERS if differs else None)


def test_a_webhook_and_an_answer_are_compared_by_the_mapped_fields(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(first := delivery(body=b'{"data":{"status":"completed"},"success":1}'))
    [receipt] = accept(delivery(origin="poll", body=b'{"data":{"status":"COMPLETED"},"success":true}'))
    assert receipt.conflict is None
    [receipt] = accept(delivery(origin="poll", payload='{"status":"other"}'))
    assert receipt.conflict == DUPLICATE_DIFFERS
    assert event_row(database, first.event_id)["duplicates"] == 2


@pytest.mark.parametrize("types", [("job.completed", "job.failed"), ("job.failed", "job.completed")])
def test_a_job_that_ended_both_ways_is_two_events_and_the_second_is_flagged(
    database: Database, accept: Accept, delivery: Make, types: tuple[str, str]
) -> None:
    one, two = (delivery(type=word) for word in types)
    assert accept(one)[0].conflict is None
    assert accept(two)[0].conflict == COMPLETED_AND_FAILED
    assert event_row(database, one.event_id)["conflict"] is None
    assert event_row(database, two.event_id)["conflict"] == COMPLETED_AND_FAILED
    assert run_states(database, two.event_id) == {"save_audio": "pending"}


def test_both_ends_in_one_batch_flag_the_later_one(database: Database, accept: Accept, delivery: Make) -> None:
    one, two = delivery(type="job.failed"), delivery(type="job.completed")
    assert [receipt.conflict for receipt in accept(one, two)] == [None, COMPLETED_AND_FAILED]
    assert event_row(database, one.event_id)["conflict"] is None


def test_the_same_job_id_at_two_sources_is_two_jobs(database: Database, accept: Accept, delivery: Make) -> None:
    receipts = accept(delivery(), delivery(source="other", type="job.failed"), delivery(source="other"))
    assert [receipt.duplicate for receipt in receipts] == [False, False, False]
    assert [receipt.conflict for receipt in receipts] == [None, None, COMPLETED_AND_FAILED]
    assert count(database) == 3


def test_a_duplicate_that_only_says_more_or_less_is_no_conflict(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(first := delivery(payload='{"status":"completed","chars_charged":4}'))
    receipts = accept(delivery(payload='{"status":"completed"}'), delivery(payload='{"audio_endpoint":"/a"}'))
    assert [receipt.conflict for receipt in receipts] == [None, None]
    assert event_row(database, first.event_id)["conflict"] is None


def test_a_contradiction_within_one_batch_is_flagged(database: Database, accept: Accept, delivery: Make) -> None:
    receipts = accept(first := delivery(payload='{"n":1}'), delivery(payload='{"n":2}'))
    assert [receipt.conflict for receipt in receipts] == [None, DUPLICATE_DIFFERS]
    assert event_row(database, first.event_id)["conflict"] == DUPLICATE_DIFFERS


def test_a_full_batch_with_many_handlers_is_stored_whole(database: Database, accept: Accept, delivery: Make) -> None:
    names = tuple(f"handler_{n}" for n in range(20))
    batch = [delivery(f"job_{n}", handlers=names) for n in range(MAX_ITEMS)]

    def run(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if connection.dialect.name == "sqlite":  # its own default; some builds have more
            driver.setlimit(connection.dialect.loaded_dbapi.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
        inbox.accept(connection, batch)

    database.transact(run)
    assert count(database, runs) == MAX_ITEMS * len(names)


def test_copies_in_one_batch_are_one_event(database: Database, accept: Accept, delivery: Make) -> None:
    copies = [delivery() for _ in range(5)]
    receipts = accept(*copies)
    assert [receipt.duplicate for receipt in receipts] == [False, True, True, True, True]
    assert {receipt.event_id for receipt in receipts} == {copies[0].event_id}
    assert event_row(database, copies[0].event_id)["duplicates"] == 4
    assert count(database, runs) == 1


def test_new_events_known_ones_and_copies_mix_in_one_batch(database: Database, accept: Accept, delivery: Make) -> None:
    accept(known := delivery("known"))
    new = delivery("new")
    receipts = accept(delivery("known"), new, delivery("new"), delivery("known", payload='{"status":"other"}'))
    assert [receipt.event_id for receipt in receipts] == [known.event_id, new.event_id, new.event_id, known.event_id]
    assert [receipt.duplicate for receipt in receipts] == [True, False, True, True]
    assert [receipt.conflict for receipt in receipts] == [None, None, None, DUPLICATE_DIFFERS]
    assert event_row(database, known.event_id)["duplicates"] == 2


@pytest.mark.parametrize("size", [1, 2, 127, 128, 129, 300])
def test_batches_of_any_size_are_stored_whole(database: Database, accept: Accept, delivery: Make, size: int) -> None:
    receipts = accept(*(delivery(f"job_{n}", handlers=("a", "b")) for n in range(size)))
    assert len({receipt.event_id for receipt in receipts}) == size
    assert count(database) == size
    assert count(database, runs) == 2 * size


# quarantine


def test_a_quarantined_event_is_kept_and_has_no_runs(database: Database, accept: Accept, delivery: Make) -> None:
    [receipt] = accept(first := delivery(quarantined=True))
    assert receipt == Receipt(first.event_id, duplicate=False, quarantined=True)
    row = event_row(database, first.event_id)
    assert (row["status"], row["state"], row["runs"]) == ("quarantined", "quarantined", [])


def test_another_stale_copy_leaves_it_in_quarantine(database: Database, accept: Accept, delivery: Make) -> None:
    accept(first := delivery(quarantined=True))
    assert accept(delivery(quarantined=True)) == [Receipt(first.event_id, duplicate=True, quarantined=True)]
    row = event_row(database, first.event_id)
    assert (row["status"], row["duplicates"], row["runs"]) == ("quarantined", 1, [])


def test_a_fresh_copy_releases_it_once(database: Database, accept: Accept, delivery: Make) -> None:
    accept(first := delivery(quarantined=True))
    [receipt] = accept(delivery(received_at=NOW + 60))
    assert receipt == Receipt(first.event_id, duplicate=True, quarantined=False, released=True)
    row = event_row(database, first.event_id)
    assert (row["status"], row["duplicates"]) == ("accepted", 1)
    assert [(run["handler"], run["state"], run["due_at"]) for run in row["runs"]] == [
        ("save_audio", "pending", NOW + 60)
    ]
    [again] = accept(delivery())
    assert not again.released
    assert count(database, runs) == 1


def test_a_fresh_copy_in_the_same_batch_releases_it(database: Database, accept: Accept, delivery: Make) -> None:
    receipts = accept(first := delivery(quarantined=True), delivery(), delivery())
    assert [receipt.released for receipt in receipts] == [False, True, False]
    assert event_row(database, first.event_id)["status"] == "accepted"
    assert count(database, runs) == 1


def test_a_stale_copy_of_an_accepted_event_is_a_plain_duplicate(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(first := delivery())
    assert accept(delivery(quarantined=True)) == [Receipt(first.event_id, duplicate=True, quarantined=False)]
    assert event_row(database, first.event_id)["status"] == "accepted"


def test_release_by_hand_makes_the_runs_once(database: Database, accept: Accept, delivery: Make) -> None:
    accept(first := delivery(quarantined=True))
    assert database.transact(inbox.release, {first.event_id: ["a", "b"]}, NOW) == {first.event_id}
    assert database.transact(inbox.release, {first.event_id: ["a", "b"]}, NOW) == set()
    assert database.transact(inbox.release, {"evt_none": ["a"]}, NOW) == set()
    assert run_states(database, first.event_id) == {"a": "pending", "b": "pending"}


# signing keys


def test_the_first_and_last_use_of_each_key_are_recorded(database: Database, accept: Accept, delivery: Make) -> None:
    accept(delivery("a", key_id="old", received_at=NOW))
    accept(delivery("b", key_id="new", received_at=NOW + 5), delivery("c", key_id="old", received_at=NOW + 9))
    accept(delivery("c", key_id="old", received_at=NOW + 20, quarantined=True))
    assert database.query(views.key_uses) == {
        ("aitts", "old"): (NOW, NOW + 20),
        ("aitts", "new"): (NOW + 5, NOW + 5),
    }


def test_a_clock_that_steps_back_does_not_make_a_key_look_unused(
    database: Database, accept: Accept, delivery: Make
) -> None:
    accept(delivery("a", received_at=NOW))
    accept(delivery("b", received_at=NOW - 100))
    assert database.query(views.key_uses)["aitts", "key-1"][1] == NOW


def test_an_event_that_was_not_signed_uses_no_key(database: Database, accept: Accept, delivery: Make) -> None:
    accept(delivery(key_id=None, skew=None, origin="poll"))
    assert database.query(views.key_uses) == {}


# constraints, not code


@pytest.mark.parametrize(
    "values", [{"status": "lost"}, {"source": None}, {"type": None}, {"body": None}, {"received_at": None}]
)
def test_the_table_refuses_an_event_that_makes_no_sense(
    database: Database, accept: Accept, delivery: Make, values: dict[str, Any]
) -> None:
    row = {
        "id": "evt_x", "source": "s", "type": "test", "key": "k", "origin": "webhook", "status": "accepted",
        "payload": {}, "body": b"", "headers": [], "received_at": NOW,
    }  # fmt: skip
    with pytest.raises((StoreUnavailable, exc.IntegrityError)):
        database.transact(lambda connection: connection.execute(insert(events).values({**row, **values})))
    assert count(database) == 0


@pytest.mark.parametrize(
    "values",
    [
        {"state": "lost"},
        {"state": "running"},
        {"state": "pending", "lease_owner": "me", "lease_until": NOW},
        {"event_id": "evt_none"},
    ],
)
def test_the_table_refuses_a_run_that_makes_no_sense(
    database: Database, accept: Accept, delivery: Make, values: dict[str, Any]
) -> None:
    accept(first := delivery(handlers=()))
    row = {"event_id": first.event_id, "handler": "h", "state": "pending", "due_at": NOW}
    with pytest.raises((StoreUnavailable, exc.IntegrityError)):
        database.transact(lambda connection: connection.execute(insert(runs).values({**row, **values})))
    assert count(database, runs) == 0


# any interleaving


_COPIES = st.lists(
    st.tuples(
        st.sampled_from(["j1", "j2", "j3"]),
        st.sampled_from(["job.completed", "job.failed", "test"]),
        st.sampled_from(["a", "b"]),
        st.booleans(),
        st.sampled_from(['{"n":1}', '{"n":2}']),
    ),
    min_size=1,
    max_size=25,
)


def _empty(connection: Connection) -> None:
    for table in (attempts, runs, events, signing_keys):
        connection.execute(delete(table))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(copies=_COPIES, cuts=st.lists(st.integers(1, 6), min_size=25, max_size=25))
def test_any_interleaving_gives_one_event_an_identity_and_counts_every_copy(
    database: Database, delivery: Make, copies: list[tuple[str, str, str, bool, str]], cuts: list[int]
) -> None:
    database.transact(_empty)
    made = [
        delivery(job, type_, source, quarantined=stale, payload=payload)
        for job, type_, source, stale, payload in copies
    ]
    waiting, receipts = iter(made), list[Receipt]()
    for size in itertools.cycle(cuts):
        batch = list(itertools.islice(waiting, size))
        if not batch:
            break
        receipts += database.transact(inbox.accept, batch)

    by_identity: dict[tuple[str, str, str], list[Delivery]] = {}
    for one in made:
        by_identity.setdefault((one.source, one.type, one.key), []).append(one)
    rows = database.query(lambda connection: connection.execute(select(events)).all())
    assert {(row.source, row.type, row.key) for row in rows} == set(by_identity)
    assert len(rows) == len(by_identity)
    assert [receipt.duplicate for receipt in receipts].count(False) == len(by_identity)
    open_runs = {row.event_id for row in database.query(lambda connection: connection.execute(select(runs)).all())}
    for row in rows:
        mine = by_identity[row.source, row.type, row.key]
        assert row.id == mine[0].event_id
        assert row.duplicates == len(mine) - 1
        fresh = any(not one.quarantined for one in mine)
        assert row.status == ("accepted" if fresh else "quarantined")
        assert (row.id in open_runs) == fresh
        differs = any(one.payload != mine[0].payload for one in mine)
        opposite = {"job.completed": "job.failed", "job.failed": "job.completed"}.get(row.type)
        both = (row.source, opposite, row.key) in by_identity
        assert (row.conflict is not None) >= differs
        assert row.conflict is None or differs or both
    for identity, mine in by_identity.items():
        opposite = {"job.completed": "job.failed"}.get(identity[1])
        if opposite and (theirs := by_identity.get((identity[0], opposite, identity[2]))):
            second = max(mine[0].event_id, theirs[0].event_id)
            assert next(row.conflict for row in rows if row.id == second) is not None


@pytest.mark.sqlite
def test_a_batch_is_one_question_and_one_insert_a_table(database: Database, accept: Accept, delivery: Make) -> None:
    accept(delivery("job_1"))  # notes the key's use
    batch = [delivery(f"job_{n}")._replace(records_key_use=False) for n in range(2, 40)]
    statements = [plan.statement.split(maxsplit=1)[0] for plan in plans_of(database, inbox.accept, batch)]
    assert statements == ["SELECT", "INSERT", "INSERT"]


def test_a_row_that_the_store_refuses_takes_its_whole_transaction_with_it(
    database: Database, accept: Accept, delivery: Make
) -> None:
    nameless = delivery("job_2")._replace(source=None)
    with pytest.raises(exc.IntegrityError):
        accept(delivery("job_1"), nameless, delivery("job_3"))
    assert count(database) == 0


@pytest.mark.anyio
async def test_a_row_that_the_store_refuses_fails_alone(database: Database, delivery: Make) -> None:
    writes = [database.batch(inbox.accept, item) for item in (delivery("job_1"), delivery("job_2"), delivery("job_3"))]
    bad = database.batch(inbox.accept, delivery("job_4")._replace(source=None))
    with pytest.raises(exc.IntegrityError):
        await bad
    assert [(await write).duplicate for write in writes] == [False] * 3
    assert count(database) == 3
