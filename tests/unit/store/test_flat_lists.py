"""What a list, a search or a look-up costs does not depend on how much is finished."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, insert, update

from receiver.model.audit import AuditEntry, AuditOperation, AuditState, Via
from receiver.model.ids import event_id, new_change_id, new_job_id
from receiver.store import audit, feed, inbox, job_pages, jobs, names, short_ids, views
from receiver.store.audit import AuditFilter
from receiver.store.database import Database
from receiver.store.dialect import DIALECTS
from receiver.store.event_pages import Filter
from receiver.store.job_pages import JobFilter
from receiver.store.schema import jobs as jobs_table
from receiver.store.schema import runs as runs_table
from receiver.store.states import EVENT_STATES, RunState
from tests.stores import open_store
from tests.unit.store.conftest import NOW, MakeDelivery
from tests.unit.store.plans import steps_of

pytestmark = pytest.mark.sqlite

FEW, MANY = 300, 3000
SOURCES = ("one", "two", "three")
TYPES = ("job.completed", "job.failed", "job.progress")
UNFINISHED = 60
"""Events that are open, dead or in quarantine: 20 of each, as many in the one store as in the other."""
RARE = 12
"""Events of a rare type, with a run of a handler that no others have."""


def fill(connection: Connection, delivery: MakeDelivery, finished: int) -> None:
    """Finished events, and as many in every store that are not; a job for each end of one."""
    rng = random.Random(3)
    apart = (finished + UNFINISHED) // UNFINISHED
    rare_apart = (finished + UNFINISHED) // RARE
    events, ended, watched, pairs = [], [], [], []
    for n in range(finished + UNFINISHED):
        at = NOW + n
        kind = ("open", "dead", "quarantined")[n // apart % 3] if n % apart == 0 else "done"
        type_ = "rare" if n % rare_apart == 1 else rng.choice(TYPES)
        is_end = type_ in TYPES[:2]
        event = delivery(
            f"job-{n}", source=rng.choice(SOURCES), type=type_, key=f"job-{n}" if is_end else f"message-{n}",
            event_id=event_id(at, rng.getrandbits(74)), received_at=at, quarantined=kind == "quarantined",
            handlers=("x", "seldom") if type_ == "rare" else ("x",),
            indexed=(("customer", "rare" if n % rare_apart == 1 else "common"), ("project", str(n % 2))),
        )  # fmt: skip
        events.append(event)
        if is_end:
            id_ = new_job_id(at, rng.getrandbits(74))
            times = {"created_at": at, "due_at": at, "deadline_at": at + 60}
            pairs += [(id_, *pair) for pair in event.indexed]
            watched.append({"id": id_, "source": event.source, "job_id": f"job-{n}", "state": "watching", **times})
        if kind in ("dead", "done"):
            ended.append({"of": event.event_id, "as": "dead" if kind == "dead" else "succeeded"})
    connection.execute(insert(jobs_table), watched)
    DIALECTS["sqlite"].events.insert_metadata(connection, "job_metadata", pairs)
    for start in range(0, len(events), 500):
        inbox.accept(connection, events[start : start + 500])
    for n in range(finished):
        actor, operation = (
            ("seldom", AuditOperation.PRUNE) if n % (finished // RARE) == 1 else ("app", AuditOperation.REPLAY)
        )
        id_ = new_change_id(NOW + n, rng.getrandbits(74))
        entry = AuditEntry(id_, NOW + n, actor, Via.API, operation, {}, AuditState.COMPLETED)
        audit.add(connection, entry, 1, NOW + n)
    as_ended = update(runs_table).where(runs_table.c.event_id == bindparam("of"))
    connection.execute(as_ended.values(state=bindparam("as")), ended)
    of_dead = update(runs_table).where(runs_table.c.state == "dead")
    connection.execute(of_dead.values(error="why", error_kind="rejected", reason="no_voice"))


@pytest.fixture
def stores(template: Path, tmp_path: Path, delivery: MakeDelivery) -> Iterator[tuple[Database, Database]]:
    """One with few finished events, one with ten times as many."""
    opened = []
    for finished in (FEW, MANY):
        path = tmp_path / f"{finished}.db"
        shutil.copyfile(template, path)
        database = open_store(path)
        database.transact(fill, delivery, finished)
        opened.append(database)
    yield opened[0], opened[1]
    for database in opened:
        database.close()


def look_ups() -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    for source in (None, "one"):
        for type_ in (None, "job.failed", "rare"):
            for time in ({}, {"after": NOW + 150.0, "before": NOW + 200.0}):
                for state in (None, *EVENT_STATES):
                    criteria = Filter(source, type_, state, **time)
                    yield f"events {criteria}", views.list_events, (criteria, 5)
                for state in (None, *RunState):
                    for handler in (None, "seldom"):
                        criteria = Filter(source, type_, state, handler=handler, **time)
                        yield f"runs {criteria}", views.list_runs, (criteria, 5)
        for of_error in ({"error_kind": "rejected"}, {"reason": "no_voice"}, {"reason": "none"}):
            for state in (None, "dead", "pending"):
                criteria = Filter(source, state=state, **of_error)
                yield f"runs {criteria}", views.list_runs, (criteria, 5)
            for state in (None, "dead"):
                criteria = Filter(source, state=state, **of_error)
                yield f"events {criteria}", views.list_events, (criteria, 5)
        for states in (None, ["watching"], ["completed"], ["unknown"], ["completed", "failed"]):
            yield f"jobs {source} {states}", job_pages.list_jobs, (JobFilter(source=source, states=states), 5)
    for pairs in ((("customer", "common"),), (("customer", "rare"),), (("customer", "rare"), ("project", "1"))):
        yield f"events with {pairs}", views.list_events, (Filter(metadata=pairs), 5)
        yield f"oldest events with {pairs}", views.event_ids, (Filter(metadata=pairs), 5)
        yield f"jobs with {pairs}", job_pages.list_jobs, (JobFilter(metadata=pairs), 5)
        if pairs[0][1] == "rare":
            for state in EVENT_STATES:
                criteria = Filter("one", "job.failed", state, metadata=pairs)
                yield f"events {criteria}", views.list_events, (criteria, 5)
            for run_state in RunState:
                yield f"runs {run_state} {pairs}", views.list_runs, (Filter(state=run_state, metadata=pairs), 5)
            yield f"some jobs with {pairs}", job_pages.list_jobs, (JobFilter(source="one", metadata=pairs), 5)
    yield "rare states of many", views.list_events, (Filter(state="open", metadata=(("customer", "common"),)), 5)
    for job in ("job-7", "job-9", "none"):
        yield f"events of {job}", views.list_events, (Filter(job=job), 5)
        yield f"runs of {job}", views.list_runs, (Filter(job=job), 5)
        yield f"find {job}", jobs.find, (job,)
    for actor in (None, "app", "seldom", "nobody"):
        for operation in (None, AuditOperation.REPLAY, AuditOperation.PRUNE):
            for time in ({}, {"since": NOW + 150.0, "until": NOW + 200.0}):
                entries = AuditFilter(actor=actor, operation=operation, **time)
                yield f"changes {entries}", audit.list_entries, (entries, 5)
    yield "event by prefix", short_ids.events_beginning_with, ("evt_0",)
    yield "short ids", short_ids.shorten_events, ([event_id(NOW + n, 1) for n in range(50)],)
    yield "type", names.is_type, ("nothing",)
    yield "sources", names.sources, ()
    yield "kinds of errors", names.error_kinds, ()
    yield "reasons", names.reasons, ()
    yield "open jobs", names.has_open_jobs, ("one",)
    yield "orphaned", views.orphaned, (["y"],)
    yield "newest", feed.newest, ()
    yield "mark of one that is gone", feed.cursor_of, (event_id(NOW - 1, 0),)
    yield "events after", feed.events_after, (feed.Cursor(100), 5)


def test_ten_times_as_many_finished_events_cost_nothing(stores: tuple[Database, Database]) -> None:
    """In steps of SQLite's machine, which no other process changes."""
    few, many = stores
    dearer = {}
    for name, function, arguments in look_ups():
        before, after = (steps_of(database, function, *arguments) for database in (few, many))
        if after > before * 1.5 + 500:
            dearer[name] = (before, after)
    assert dearer == {}
