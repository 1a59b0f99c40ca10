"""Events and runs as the model has them, and how the rows of a store differ from the model's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from receiver.store.claims import Claim
from receiver.store.schema import attempts, events, jobs, run_tracebacks, runs
from tests.unit.store.model_of_jobs import Job

if TYPE_CHECKING:
    from tests.unit.store.model_of_runs import ModelOfRuns

Key = tuple[str, str]

TOLERANCE = 1e-3
"""Seconds: the store and the model may add up times in another order."""


@dataclass
class Event:
    """An event; `chars` stands for all that its deliveries say."""

    id: str
    source: str
    type: str
    job_id: str
    chars: int
    status: str
    received_at: float
    duplicates: int = 0
    conflict: str | None = None


@dataclass
class Run:
    """A run, and the attempts that left a row."""

    due_at: float
    state: str = "pending"
    attempt: int = 0
    forgiven: int = 0
    crashes: int = 0
    lease_owner: str | None = None
    lease_until: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    result: Any = None
    waits_for: str | None = None
    error_kind: str | None = None
    reason: str | None = None
    traceback: tuple[int, str] | None = None
    attempts: dict[int, str] = field(default_factory=dict)
    successes: int = 0
    replays: int = 0

    @property
    def suspect(self) -> bool:
        return self.crashes >= 2

    def free(self, state: str) -> None:
        self.state, self.lease_owner, self.lease_until = state, None, None

    def held_by(self, claim: Claim, owner: str) -> bool:
        return (self.state, self.attempt, self.lease_owner) == ("running", claim.attempt, owner)


def read_rows(connection: Connection) -> dict[str, dict[Any, dict[str, Any]]]:
    """The whole store, as the model has it."""
    ends: dict[Key, dict[int, str]] = {}
    for row in connection.execute(select(attempts)):
        ends.setdefault((row.event_id, row.handler), {})[row.number] = row.outcome
    of_runs = {(row.event_id, row.handler): dict(row._mapping) for row in connection.execute(select(runs))}
    traces = {
        (row.event_id, row.handler): (row.attempt, row.text) for row in connection.execute(select(run_tracebacks))
    }
    return {
        "events": {row.id: dict(row._mapping) | {"job_id": row.key} for row in connection.execute(select(events))},
        "runs": {
            key: row | {"attempts": ends.pop(key, {}), "traceback": traces.pop(key, None)}
            for key, row in of_runs.items()
        },
        "jobs": {row.id: dict(row._mapping) for row in connection.execute(select(jobs))},
        "attempts without a run": {key: {} for key in ends},
        "tracebacks without a run": {key: {} for key in traces},
    }


def differences(found: Mapping[str, Mapping[Any, Mapping[str, Any]]], model: ModelOfRuns) -> list[str]:
    """What differs, one line for each value."""
    wanted: dict[str, dict[Any, Event | Run | Job]] = {
        "events": {**model.events}, "runs": {**model.runs}, "jobs": {**model.jobs.rows},
        "attempts without a run": {}, "tracebacks without a run": {},
    }  # fmt: skip
    lines = []
    for kind, rows in wanted.items():
        lines += [f"{kind}: {key} is only on one side" for key in rows.keys() ^ found[kind].keys()]
        for key in rows.keys() & found[kind].keys():
            for name, value in asdict(rows[key]).items():
                other = found[kind][key].get(name, value)  # what only the model has
                if not _same(value, other):
                    lines.append(f"{kind}: {key}: {name} is {other!r}, not {value!r}")
    return lines


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=TOLERANCE)
    return bool(one == other)
