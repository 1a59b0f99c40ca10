"""Failed runs in groups, as an operator asks for them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from receiver.model.ids import event_id
from receiver.model.slots import Slots
from receiver.store import inbox, runs, views
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.run_errors import STATES, ErrorGroup, ErrorGroups, error_groups
from receiver.store.runs import RunResult
from receiver.store.states import RunState
from tests.claiming import claim_due
from tests.stores import execute, query
from tests.unit.store.conftest import NOW, MakeDelivery
from tests.unit.store.plans import plans_of
from tests.unit.store.test_postgresql_plans import read_rows

WHYS = [("rejected", "no_voice"), ("rejected", None), ("KeyError", None), ("rejected", "too_long"), (None, None)]
HANDLERS = ("x", "y")
MANY = 4000


@pytest.fixture
def failed(database: Database, delivery: MakeDelivery) -> Database:
    """A hundred runs that are dead, pending again, cancelled, running again, or have never failed."""
    deliveries = [
        delivery(
            f"{n}", event_id=event_id(NOW + n, n), source=("one", "two")[n % 2], handlers=HANDLERS, received_at=NOW + n
        )
        for n in range(50)
    ]
    database.transact(inbox.accept, deliveries)
    claimed = database.transact(claim_due, Slots(100, dict.fromkeys(HANDLERS)).free({}), "me", NOW + 60, NOW + 90)
    results = []
    for n, claim in enumerate(sorted(claimed, key=lambda claim: (claim.event_id, claim.handler))):
        kind, reason = WHYS[(n * n) % 7 % len(WHYS)]
        at = NOW + 100 + n
        if n % 10 == 9:
            results.append(RunResult(claim, "me", "succeeded", RunState.SUCCEEDED, at))
            continue
        dead = n % 3 != 0
        results.append(
            RunResult(
                claim, "me", "failed", RunState.DEAD if dead else RunState.PENDING, at,
                due_at=None if dead else at + 30, error=f"error {n}", error_kind=kind, reason=reason,
            )
        )  # fmt: skip
    assert all(database.transact(runs.finish, results))
    again = database.transact(claim_due, Slots(3, {"x": None}).free({}), "me", NOW + 500, NOW + 530)
    assert len(again) == 3
    database.transact(runs.cancel, [(claim.event_id, claim.handler) for claim in again[:1]], NOW + 501)
    return database


def expected(database: Database, criteria: Filter, limit: int) -> ErrorGroups:
    """The same, counted one by one."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    state = criteria.state or "dead"
    statement = "SELECT runs.*, source, received_at FROM runs JOIN events ON events.id = event_id"
    for run in query(database, statement):
        named = (run["error_kind"] or "", run["reason"] or "")
        if (
            run["state"] == state
            and (state == "dead" or run["error_kind"])
            and criteria.handler in (None, run["handler"])
            and criteria.source in (None, run["source"])
            and criteria.error_kind in (None, named[0])
            and criteria.reason in (None, named[1])
            and (criteria.after is None or run["received_at"] >= criteria.after)
            and (criteria.before is None or run["received_at"] < criteria.before)
        ):
            run["failed_at"] = run["due_at"] - run["wait_seconds"] if run["finished_at"] is None else run["finished_at"]
            groups[run["handler"], run["error_kind"], run["reason"]].append(run)
    found = []
    for key, members in groups.items():
        newest = max(members, key=lambda run: run["event_id"])
        times = [run["failed_at"] for run in members]
        found.append(ErrorGroup(*key, len(members), min(times), max(times), newest["event_id"], error=newest["error"]))
    found.sort(key=lambda group: (-group.count, group.handler, group.error_kind or "", group.reason or ""))
    return ErrorGroups(found[:limit], len(found), sum(group.count for group in found))


@pytest.mark.parametrize("state", [None, *STATES])
def test_groups_are_those_that_are_counted_one_by_one(failed: Database, state: str | None) -> None:
    number = 0
    for handler in (None, "x", "none"):
        for source in (None, "two"):
            for kind, reason in ((None, None), ("rejected", None), (None, "no_voice"), ("rejected", ""), ("", "")):
                for after, before in ((None, None), (NOW + 10, NOW + 30)):
                    criteria = Filter(
                        source, state=state, handler=handler, error_kind=kind, reason=reason, after=after, before=before
                    )
                    found = failed.query(error_groups, criteria, 3)
                    assert found == expected(failed, criteria, 3), criteria
                    number += len(found.largest)
    assert number


def test_the_largest_come_first_and_all_are_counted(failed: Database) -> None:
    found = failed.query(error_groups, Filter(), 2)
    assert len(found.largest) == 2 < found.groups
    counts = [group.count for group in failed.query(error_groups, Filter(), 100).largest]
    assert counts == sorted(counts, reverse=True)
    assert (found.groups, found.runs) == (len(counts), sum(counts))
    assert failed.query(error_groups, Filter(handler="none"), 2) == ErrorGroups([], 0, 0)


@pytest.mark.sqlite
def test_groups_of_dead_runs_are_counted_from_the_index_alone(failed: Database) -> None:
    [counted, _] = plans_of(failed, error_groups, Filter(), 20)
    assert any("USING COVERING INDEX ix_runs_errors (state=?)" in line for line in counted.lines), counted


@pytest.mark.postgresql
def test_a_page_of_runs_with_an_error_reads_no_more_of_many(database: Database, delivery: MakeDelivery) -> None:
    deliveries = [delivery(f"{n}", event_id=event_id(NOW + n, n), handlers=("x",)) for n in range(MANY)]
    for start in range(0, MANY, 500):
        database.transact(inbox.accept, deliveries[start : start + 500])
    execute(
        database,
        "UPDATE runs SET state = 'dead', finished_at = 1, error = 'no', error_kind = 'rejected', "
        "reason = CASE WHEN event_id < :middle THEN 'no_voice' END",
        middle=event_id(NOW + MANY // 2, 0),
    )
    with database._writer_engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute("VACUUM ANALYZE")
    for criteria in (
        Filter(error_kind="rejected"),
        Filter(state="dead", reason="no_voice"),
        Filter(error_kind="rejected", reason="no_voice"),
        Filter(state="dead", error_kind="rejected", reason=""),
    ):
        read = read_rows(database, lambda connection, criteria=criteria: views.list_runs(connection, criteria, 20))
        assert read["runs"] <= (0, 200), criteria
