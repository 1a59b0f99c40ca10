"""No function of the store reads history: every statement of every public function is searched by an index.

A new public function fails here until it has its call below.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection

import receiver.store
from receiver.model.audit import AuditEntry, AuditOperation, AuditState, Via
from receiver.model.budget import Budget, Usage
from receiver.model.ids import new_change_id
from receiver.model.rate_limit import RateLimit
from receiver.model.rate_plan import Bucket, RatePlan, RequestKind
from receiver.model.role import Role
from receiver.model.slots import Slots
from receiver.store import (
    artifacts,
    audit,
    claims,
    clocks,
    completion,
    distinct,
    edited_events,
    error_search,
    event_pages,
    feed,
    gauges,
    inbox,
    job_durations,
    job_leases,
    job_pages,
    jobs,
    leases,
    metadata_index,
    names,
    operations,
    processes,
    prune,
    quarantine,
    rate_buckets,
    replicas,
    rollups,
    run_errors,
    runs,
    search_plans,
    sessions,
    short_ids,
    throttle_state,
    turns,
    usage,
    views,
    waiting_runs,
)
from receiver.store.artifacts import ArtifactRow
from receiver.store.audit import AuditFilter
from receiver.store.claims import Claim, ClaimRequest
from receiver.store.clocks import RequestTimes, TimeBounds
from receiver.store.completion import TerminalEvent
from receiver.store.database import Database
from receiver.store.event_pages import Filter
from receiver.store.feed import Cursor
from receiver.store.inbox import Receipt
from receiver.store.job_leases import JobClaim
from receiver.store.job_pages import JobFilter
from receiver.store.jobs import NewJob
from receiver.store.leases import Lease
from receiver.store.runs import RunResult
from receiver.store.searches import Order
from receiver.store.sessions import SessionRow
from receiver.store.states import EVENT_STATES, JobState, RunState
from receiver.store.turns import Turn
from tests.clocks import SetClock
from tests.unit.store.conftest import NOW, MakeDelivery
from tests.unit.store.plans import plans_of, require_flat

pytestmark = pytest.mark.sqlite
RATE_PLAN = RatePlan({"account": Bucket("account", 10, 5, NOW + 9)}, {"status": "account"})

FUNCTIONS_OF_THE_FILE = {"migrate"}
"""Modules whose functions of a connection ask the file, not the tables."""

EVENT = f"evt_{1:032x}"
LEASE = Lease("me", NOW + 60)
FREE = Slots(4, {"save_audio": None, "notes": None})
CLAIM = Claim(EVENT, "save_audio", 1, 1, NOW, NOW, {})
REQUEST = ClaimRequest(FREE.free({}), LEASE, NOW)
CLUSTER = ClaimRequest(Slots(4, {"save_audio": 9, "notes": None}, {"save_audio": 9}).free({}), LEASE, NOW)
FINISH = RunResult(CLAIM, "me", "failed", RunState.PENDING, NOW, due_at=NOW + 5, waits_for="audio_storage")
JOB = JobClaim(
    id="job_1", source="aitts", job_id="watched", state=JobState.WATCHING, claim=0, submits=0, polls=0, misses=0,
    created_at=NOW, deadline_at=NOW,
)  # fmt: skip
PAIRS = (("customer", "acme"), ("project", "one"))
NEW_JOB = NewJob(
    id="job_2",
    source="aitts",
    request={"text": "Hello"},
    submit_key="s",
    client_key="c",
    now=NOW,
    deadline_at=NOW,
    indexed=PAIRS,
)
ENTRY = AuditEntry(
    id=new_change_id(NOW, 1), at=NOW, actor="app", via=Via.API, operation=AuditOperation.REPLAY, filter={},
    state=AuditState.UNFINISHED,
)  # fmt: skip
ARTIFACT = ArtifactRow(EVENT, 0, "a.wav", 9, "00", "audio/wav", "wav", None, None, None, NOW, 1.0)
COUNTED = {rollups.Series(rollups.Kind.DELIVERIES, "aitts", "accepted"): 1}
END = TerminalEvent("aitts", "watched", "job.completed", EVENT, NOW, {})
BUDGET = Budget(characters_per_day=100, credits_per_day=Decimal(5))
USED = {"jobs": 1, "characters": 5, "reserved": 0, "credits": "0.5"}
SESSION = SessionRow(
    id=f"{1:064x}", actor="anna", kind="user", credential="mac", created_at=NOW, seen_at=NOW, expires_at=NOW + 60
)
PROCESS = processes.ProcessInfo("me", Role.ALL, "host", 1, "1.0", NOW)
WAITS = TimeBounds(30.0, 60.0, {"aitts": 600.0}, {"aitts": RequestTimes(60.0, 2.0)})

FILTERS = [
    Filter(source=source, type=type_, job=job, after=after, before=before, older_than=older, metadata=metadata)
    for source in (None, "aitts")
    for type_ in (None, "job.completed")
    for job in (None, "first")
    for after, before, older in ((None, None, None), (NOW - 60, NOW, None), (None, None, EVENT))
    for metadata in ((), PAIRS[:1], PAIRS)
]
FILTERS += [Filter(origin="edited", source=source, after=after) for source in (None, "aitts") for after in (None, NOW)]
FILTERS += [
    Filter(source=source, error_kind=kind, reason=reason, after=after)
    for source in (None, "aitts")
    for kind, reason in (
        ("ValueError", None),
        (None, "no_voice"),
        ("rejected", "no_voice"),
        ("rejected", ""),
        (None, ""),
    )
    for after in (None, NOW - 60)
]


def _with_states(states: Any) -> list[Filter]:
    return [replace(criteria, state=state) for criteria in FILTERS for state in (None, *states)]


def _calls(delivery: MakeDelivery) -> dict[Callable[..., Any], list[tuple[Any, ...]]]:
    """Each public function of the store, with the arguments of each call."""
    one = [delivery("third")]
    stale = [delivery("fourth", quarantined=True)]
    return {
        artifacts.get: [(EVENT,)],
        artifacts.of_events: [([EVENT, f"evt_{2:032x}"],)],
        artifacts.page_of_events: [
            (*bounds, 10, order) for bounds in ((None, ""), (EVENT, "evt_0")) for order in Order
        ],
        artifacts.put_all: [([ARTIFACT],)],
        audit.add: [(ENTRY, 1, NOW)],
        audit.delete_old: [(NOW + 1, [ENTRY.id])],
        audit.find_old: [(NOW + 1, None, 10), (NOW + 1, ENTRY.id, 10)],
        audit.finish: [(ENTRY.id, AuditState.COMPLETED, None, NOW)],
        audit.list_entries: [
            (AuditFilter(actor=actor, operation=operation, since=since, until=until, older_than=older), 10, order)
            for actor in (None, "app")
            for operation in (None, AuditOperation.REPLAY)
            for since, until, older in ((None, None, None), (NOW - 60, NOW + 60, None), (None, None, ENTRY.id))
            for order in Order
        ],
        claims.claim: [
            (REQUEST,),
            (CLUSTER,),
            (ClaimRequest(FREE.free({}), LEASE, NOW, {"save_audio": [CLAIM]}, {"notes": 9}),),
        ],
        claims.expired: [(NOW + 60,)],
        claims.extend: [([CLAIM.key], "me", NOW + 30)],
        claims.release: [([CLAIM], "me")],
        claims.has_expired: [(NOW,)],
        claims.next_due: [(["save_audio", "notes"], NOW)],
        claims.release_unknown: [([CLAIM.key], "me")],
        claims.release_expired: [(NOW + 60,)],
        clocks.renew_leases: [(WAITS, NOW)],
        clocks.compare_with_server: [],  # of a server, and it reads no table
        _all_steps: [()],
        edited_events.find: [(edited_events.edited_key(EVENT), "aitts", "job.completed")],
        edited_events.made_of: [(EVENT,)],
        edited_events.share_audio: [(EVENT, f"evt_{2:032x}")],
        edited_events.store: [(one[0]._replace(key=edited_events.edited_key(EVENT)), EVENT)],
        distinct.distinct: [],  # every list that uses it is asked
        completion.find_terminal_event: [("aitts", "first")],
        completion.complete_job: [("job_1", END)],
        completion.complete_jobs: [([END],)],
        completion.complete_watched: [([completion.WatchedJob("job_1", END.source, END.job_id)], [END])],
        event_pages.page_of_events: [],
        event_pages.page_with_runs: [],
        error_search.search_events: [(criteria, "no", 10) for criteria in _with_states(EVENT_STATES)],
        error_search.search_runs: [(criteria, "no", 10) for criteria in FILTERS],
        feed.events_after: [(Cursor(), 10), (Cursor(7, EVENT), 10), (Cursor(7, "evt_7"), 10)],
        feed.delay: [],  # SQLite needs no statement for it
        feed.has_hidden: [],  # as `delay`
        feed.cursor_of: [(EVENT,), ("evt_0",), ("evt_1",), ("evt_f",)],
        feed.newest: [()],
        feed.with_metadata: [
            ({EVENT, "evt_7"}, [("customer", "acme")]),
            ({EVENT}, [("customer", "a"), ("project", "b")]),
        ],
        job_leases.begin_submit: [(JOB,)],
        job_leases.claim: [("aitts", 10, NOW, LEASE)],
        job_leases.claim_new: [("job_1", NOW, LEASE)],
        job_leases.claim_named: [("aitts", ["watched"], NOW, LEASE)],
        job_leases.complete: [(JOB, JobState.COMPLETED, NOW, EVENT)],
        job_leases.release: [(JOB, NOW, NOW)],
        job_leases.release_unknown: [("aitts", ["job_1"], "me")],
        job_leases.next_due: [("aitts",)],
        job_leases.set_event: [("job_1", EVENT)],
        job_leases.mark_not_submitted: [(JOB, JobState.FAILED, NOW, "code", "why")],
        job_leases.reschedule: [(JOB, NOW, NOW)],
        job_leases.reschedule_submit: [(JOB, NOW, NOW, "code", "why")],
        job_leases.mark_submitted: [(JOB, "provider-2", NOW, NOW, NOW)],
        job_leases.was_completed_by_event: [(JOB, EVENT)],
        inbox.accept: [(one,), ([*one, *one],)],
        inbox.accept_bounded: [(stale, 10), (one, 10)],
        inbox.release: [({f"evt_{3:032x}": ["save_audio"]}, NOW)],
        inbox.stored: [([inbox.identity_of(one[0])],)],
        jobs.adopt: [("job_1", "watched", NOW, NOW)],
        jobs.cancel: [("job_1", NOW)],
        jobs.complete_if_event_exists: [("job_1", "aitts", "watched")],
        jobs.find: [("watched",), ("watched", "aitts")],
        jobs.get: [("job_1",)],
        jobs.is_task: [("aitts", "watched")],
        jobs.enqueue: [(NEW_JOB,), (replace(NEW_JOB, budget=BUDGET),)],
        job_pages.list_ids: [(JobFilter(source="aitts"), 10)],
        job_pages.list_jobs: [
            (
                JobFilter(source=source, states=states, job=job, metadata=metadata, **times, **order.beyond(id)),
                10,
                job_pages.ALL,
                order,
            )
            for source in (None, "aitts")
            for states in (None, ["watching"], ["completed", "failed"])
            for id in (None, "job_1")
            for order in Order
            for job in (None, "watched")
            for metadata in ((), PAIRS[:1], PAIRS)
            for times in ({}, dict[str, Any](created_after=NOW - 60, created_before=NOW))
        ],
        jobs.find_held: [(jobs.jobs.c.id == "job_1",)],
        jobs.find_one: [(jobs.jobs.c.id == "job_1",)],
        job_pages.page_of_jobs: [(JobFilter(), 10), (JobFilter(source="aitts"), 10)],
        jobs.poll_now: [("job_1", NOW)],
        jobs.require_budget: [(replace(NEW_JOB, budget=BUDGET),)],
        jobs.hold_job_id: [],  # SQLite needs no statement for it
        jobs.get_existing: [("job_1",)],
        jobs.watch: [("job_3", "aitts", "watched", NOW, NOW, NOW), ("job_4", "aitts", "new", NOW, NOW, NOW)],
        leases.end_leases: [("me",)],
        metadata_index.complete_keys: [(["customer"], NOW)],
        metadata_index.declare_keys: [(["customer"], NOW, NOW), (["other"], NOW, NOW)],
        metadata_index.index_rows: [
            (what, [metadata_index.StoredMetadata(id_, {"customer": "acme"})], ["customer"])
            for what, id_ in ((metadata_index.EVENTS, EVENT), (metadata_index.JOBS, "job_1"))
        ],
        metadata_index.progress_of: [(metadata_index.EVENTS, ["customer"])],
        metadata_index.read_page: [(metadata_index.EVENTS, "", 10), (metadata_index.JOBS, "job_", 10)],
        metadata_index.record_progress: [(metadata_index.EVENTS, ["customer"], EVENT)],
        metadata_index.require_indexed: [(["customer"],)],
        metadata_index.unknown_keys: [(["customer"],)],
        names.error_kinds: [()],
        names.has_open_jobs: [("aitts",)],
        names.is_type: [("job.complete",)],
        names.reasons: [()],
        names.sources: [()],
        gauges.counts: [()],
        gauges.depth: [(NOW,)],
        gauges.read: [(["aitts"], NOW)],
        gauges.received_at: [()],
        gauges.silent_seconds: [(["aitts"], NOW)],
        search_plans.fewest: [],  # every list that uses it is asked
        short_ids.events_beginning_with: [("evt_0",)],
        short_ids.jobs_beginning_with: [("0",), ("job_0", "aitts"), ("f3973de3-c21",)],
        short_ids.provider_ids_beginning_with: [("f3973de3-c21",)],
        short_ids.shorten_events: [([EVENT, f"evt_{2:032x}"],)],
        short_ids.shorten_jobs: [(["job_1"],)],
        rate_buckets.forget: [("aitts",)],
        rate_buckets.get: [("aitts",)],
        rate_buckets.get_all: [()],
        rate_buckets.refund: [("aitts", RequestKind.STATUS, 1, NOW)],
        rate_buckets.lock: [("aitts",)],
        rate_buckets.assign: [("aitts", RequestKind.STATUS, "account")],
        rate_buckets.pause: [("aitts", "account", NOW, "why", NOW)],
        rate_buckets.record: [("aitts", RateLimit(10, 0, NOW + 9, "account"), NOW)],
        rate_buckets.store: [("aitts", RATE_PLAN, RATE_PLAN.after(RequestKind.STATUS, 1, NOW), NOW)],
        rate_buckets.watched: [("aitts",)],
        job_durations.add: [("aitts", 9, 1.5)],
        job_durations.get: [("aitts",)],
        throttle_state.record_response: [("aitts", NOW)],
        throttle_state.get: [("aitts",)],
        throttle_state.pause: [("aitts", NOW, "why", NOW)],
        throttle_state.pauses: [(NOW,)],
        throttle_state.pause_of: [],  # of `get`, `rate_buckets.get` and `rate_buckets.watched`
        throttle_state.resume: [("aitts",)],
        throttle_state.reserve_times: [("aitts", 1, NOW, 1.0)],
        processes.listed: [()],
        processes.remove: [("me",)],
        processes.remove_abandoned: [(NOW,)],
        processes.write_heartbeat: [(PROCESS, NOW)],
        operations.accept: [("chg_new", AuditOperation.REPLAY_RUNS, 1, {}, {}, NOW)],
        operations.add: [("chg_1", 1, 0)],
        operations.advance: [("chg_1", "me", EVENT, NOW, NOW)],
        operations.claim: [("chg_1", "me", NOW, NOW)],
        operations.delete_old: [(NOW + 1, ["chg_1"])],
        operations.find_old: [(NOW + 1, None, 10), (NOW + 1, "chg_1", 10)],
        operations.finish: [("chg_1", "me", AuditState.COMPLETED, None, NOW)],
        operations.first_unfinished: [()],
        operations.get: [("chg_1",)],
        operations.page: [(beyond, 10, order) for beyond in (None, "chg_2") for order in Order],
        operations.release: [("me",)],
        operations.stop: [("chg_1", NOW)],
        sessions.create: [(replace(SESSION, id=f"{2:064x}"),)],
        sessions.delete_old: [(NOW + 99, [SESSION.id])],
        sessions.find: [(SESSION.id,)],
        sessions.find_by_prefix: [("00",)],
        sessions.find_old: [(NOW + 99, None, 10), (NOW + 99, (NOW, SESSION.id), 10)],
        sessions.list_sessions: [(NOW, 10)],
        sessions.remove: [([SESSION.id],)],
        sessions.remove_of: [("anna",)],
        sessions.touch: [(SESSION.id, NOW)],
        operations.resume: [("chg_1", NOW)],
        operations.note: [("chg_1", "me", "detail", 1.0)],
        operations.failed_since: [(1.0, 10)],
        prune.delete_events: [(NOW + 1, [EVENT, f"evt_{2:032x}"])],
        prune.delete_jobs: [(NOW + 1, ["job_1"])],
        prune.find_events: [(NOW + 1, None, 10), (NOW + 1, EVENT, 10)],
        prune.find_jobs: [(NOW + 1, None, 10), (NOW + 1, (NOW, "job_1"), 10)],
        prune.newest_received_at: [()],
        quarantine.count: [("aitts", 10)],
        quarantine.counts: [()],
        quarantine.delete_old: [(NOW + 1, [f"evt_{3:032x}"])],
        quarantine.find_old: [(NOW + 1, None, 10), (NOW + 1, ("aitts", NOW, EVENT), 10)],
        replicas.working: [(NOW,)],
        rollups.add: [([(NOW, COUNTED), (NOW + 60, COUNTED)],)],
        rollups.totals: [(60, list(rollups.Kind), NOW - 60, NOW), (3600, list(rollups.Kind), NOW - 3600, NOW)],
        rollups.points: [
            (60, rollups.Kind.RUNS, NOW - 3600, NOW, 600, ("name", "label")),
            (3600, rollups.Kind.RUNS, NOW - 3600, NOW, 3600, (), "log"),
        ],
        rollups.find_old: [(NOW + 1, None, 10)],
        rollups.delete_old: [(NOW + 1, [f"deliveries {NOW // 60 * 60:.0f}"])],
        run_errors.error_groups: [
            (replace(criteria, state=state, handler=handler), 10)
            for criteria in FILTERS
            if criteria.job is None
            for state in (None, "pending")
            for handler in (None, "save_audio")
        ],
        runs.cancel: [([(EVENT, "save_audio")], NOW)],
        runs.finish: [([FINISH],)],
        runs.ended_by: [([(EVENT, "log")], NOW)],
        runs.retry_now: [([(EVENT, "log")], NOW)],
        runs.replay: [([(EVENT, "save_audio"), (EVENT, "notes")], NOW)],
        turns.write: [(Turn("me", [FINISH], [CLAIM], REQUEST),)],
        usage.forget: [({"created_at": NOW, "source": "aitts", "counted": USED},)],
        usage.lock_day: [("2023-11-14", "aitts")],
        usage.list_usage: [("2023-11-14",), ("2023-11-14", "aitts")],
        usage.read_day: [("2023-11-14", "aitts")],
        usage.reserve: [("aitts", BUDGET, 5, NOW)],
        usage.reconcile: [("aitts",)],
        usage.reconcile_jobs: [(["job_1"],)],
        usage.write: [("2023-11-14", "aitts", Usage(1))],
        views.list_ids: [(Filter(state="open"), 10)],
        views.events_with_runs: [(Filter(state="dead"), 10)],
        views.end_of_events: [()],
        views.event_ids: [(criteria, 10) for criteria in _with_states(EVENT_STATES)],
        views.get_event: [(EVENT,)],
        views.key_uses: [()],
        views.list_events: [
            (criteria, 10) for criteria in (*_with_states(EVENT_STATES), Filter(metadata=(("customer", "globex"),)))
        ],
        views.page_of_runs: [(Filter(), 1), (Filter(state="dead", handler="save_audio"), 1)],
        views.list_runs: [
            (replace(criteria, handler=handler), 10)
            for criteria in _with_states(RunState)
            for handler in (None, "save_audio")
        ],
        views.runs_of: [([EVENT], event_pages.RunCondition())],
        views.summaries: [([EVENT],)],
        views.orphaned: [(["save_audio"],)],
        views.runs_of_page: [(criteria, tuple(RunState), 10) for criteria in FILTERS],
        views.outcomes_of_runs: [([(EVENT, "log"), (EVENT, "other")],)],
        views.signed_events: [([EVENT, f"evt_{2:032x}"],)],
        waiting_runs.count: [()],
        waiting_runs.finish: [([FINISH],)],
        waiting_runs.release: [(10, NOW)],
    }


NAMED = {
    job_leases.complete: {"polls": 1},
    job_leases.reschedule_submit: {"refused": False},
}
"""Arguments that are given by name."""

SORTED: dict[Callable[..., Any], int] = {
    jobs.find: 1,  # the few sources that have a job of this id
    views.get_event: 1,  # the attempts of one event
    processes.listed: 1,  # a row a process
    names.sources: 1,  # a row a source
    completion.find_terminal_event: 1,  # the ends of one job
    job_leases.mark_submitted: 1,  # the same
    jobs.complete_if_event_exists: 1,
    jobs.watch: 1,
    prune.find_jobs: 2,  # those that ended at the same moment
    quarantine.find_old: 4,  # those that were received at the same moment
    replicas.working: 1,  # a row a process
    rollups.points: 2,  # the counts of one kind in a time
    rollups.totals: 12,  # the few series of one kind
    run_errors.error_groups: 1000,  # a row a kind and reason of a handler; each of the calls sorts them
}
"""Functions that sort what is few, and how many of their statements do."""


def _all_steps(connection: Connection) -> None:
    cursors = {"runs": ("save_audio", NOW + 9, EVENT), "jobs": ("aitts", "watching", "job_1"), "events": EVENT}
    for kind, step in clocks.steps(WAITS, SetClock(NOW)):
        step(connection, cursors.get(kind))
        after = None
        while True:
            _, after = step(connection, after)
            if after is None:
                break


@pytest.fixture
def filled(database: Database, delivery: MakeDelivery, accept: Callable[..., list[Receipt]]) -> Database:
    """A few rows of everything, so that each branch has something to go on with."""
    accept(
        delivery("first", handlers=("save_audio", "notes"), indexed=PAIRS),
        delivery("second", type="job.failed", handlers=("notes",)),
        delivery("third", quarantined=True),
    )

    def fill(connection: Connection) -> None:
        jobs.watch(connection, "job_1", "aitts", "watched", NOW, NOW, NOW + 60)
        metadata_index.declare_keys(connection, ["customer", "project"], NOW, NOW)
        metadata_index.index_rows(
            connection,
            metadata_index.JOBS,
            [metadata_index.StoredMetadata("job_1", dict(PAIRS))],
            ["customer", "project"],
        )
        metadata_index.complete_keys(connection, ["customer", "project"], NOW)
        claims.claim(connection, REQUEST)
        audit.add(connection, ENTRY, 1, NOW)
        rollups.add(connection, [(NOW - 120, COUNTED)])
        operations.accept(connection, "chg_1", AuditOperation.REPLAY_RUNS, 1, {}, {}, NOW)
        sessions.create(connection, SESSION)

    database.transact(fill)
    return database


def _public_functions() -> dict[str, Callable[..., Any]]:
    found = {}
    for module in pkgutil.iter_modules(receiver.store.__path__):
        if module.ispkg or module.name in FUNCTIONS_OF_THE_FILE:
            continue
        loaded = importlib.import_module(f"receiver.store.{module.name}")
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            if name.startswith("_") or function.__module__ != loaded.__name__:
                continue
            first = next(iter(inspect.signature(function).parameters.values()), None)
            if first is not None and first.annotation == "Connection":
                found[f"{module.name}.{name}"] = function
    return found


PUBLIC = _public_functions()


def test_every_public_function_of_the_store_is_asked(delivery: MakeDelivery) -> None:
    missing = set(PUBLIC.values()) - set(_calls(delivery))
    assert not missing, f"give each of these a call in {__file__}"


@pytest.mark.parametrize("name", [*sorted(PUBLIC), "clocks.steps"])
def test_no_statement_scans_history(filled: Database, delivery: MakeDelivery, name: str) -> None:
    function = PUBLIC.get(name, _all_steps)

    def ask(connection: Connection) -> None:
        for arguments in _calls(delivery)[function]:
            function(connection, *arguments, **NAMED.get(function, {}))

    plans = plans_of(filled, ask)
    assert plans or not _calls(delivery)[function]
    require_flat(plans, sorts=SORTED.get(function, 0))
