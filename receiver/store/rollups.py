"""Rollups: how many deliveries, events, runs and requests there were in each minute and in each hour.

Processes count by themselves and add what they counted once a minute, so the sums are of all processes, and go on after
a restart. What a killed process had not added is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Literal, NamedTuple

from sqlalchemy import BigInteger, Connection, cast, delete, func, literal_column, select

from receiver.store.dialect import DIALECTS
from receiver.store.prune import Page, Prunable
from receiver.store.schema import rollups

MINUTE, HOUR = 60, 3600
"""The lengths of periods, seconds."""
RETENTION_SECONDS = {MINUTE: 2 * 86_400.0, HOUR: 60 * 86_400.0}
"""How long the counts of periods of each length are kept."""
DURATION_BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, float("inf"))
"""Upper bounds of the durations that are counted together, seconds."""

UNFINISHED = ("released", "postponed")
"""Outcomes of attempts that have no end: they do not count, and another follows."""


class Kind(StrEnum):
    """What is counted.

    `DELIVERIES`, by source and outcome; `EVENTS`, by source and type; `RUNS`, by handler and outcome of the attempt;
    `RUN_SECONDS`, attempts by handler and the upper bound of their duration (`DURATION_BOUNDS`); `POLLS` and `SUBMITS`,
    by source and outcome.
    """

    DELIVERIES = "deliveries"
    EVENTS = "events"
    RUNS = "runs"
    RUN_SECONDS = "run_seconds"
    POLLS = "polls"
    SUBMITS = "submits"


class Series(NamedTuple):
    """What a count is of; `name` is a source or a handler, `label` as `Kind` says."""

    kind: Kind
    name: str
    label: str


Counts = Mapping[Series, int]


@dataclass(frozen=True, slots=True)
class Total:
    """The count of a series in a time.

    Attributes:
        last_at: when the last period began in which it was counted, unix seconds.
    """

    count: int
    last_at: float


def add(connection: Connection, counted: Sequence[tuple[float, Counts]]) -> None:
    """Add counts to those of their minute and their hour.

    Args:
        counted: each with the beginning of its minute, unix seconds.
    """
    sums: dict[tuple[int, str, float, str, str], int] = {}
    for at, counts in counted:
        for (kind, name, label), count in counts.items():
            for seconds in (MINUTE, HOUR):
                key = (seconds, str(kind), at // seconds * seconds, name, label)
                sums[key] = sums.get(key, 0) + count
    if not sums:
        return
    names = ("seconds", "kind", "at", "name", "label")
    statement = DIALECTS[connection.dialect.name].insert(rollups)
    more = {"count": rollups.c.count + statement.excluded.count}
    # In one order: several processes add at the same time.
    rows = [{**dict(zip(names, key, strict=True)), "count": sums[key]} for key in sorted(sums)]
    connection.execute(statement.on_conflict_do_update(index_elements=names, set_=more), rows)


def totals(
    connection: Connection, seconds: int, kinds: Iterable[Kind], since: float, until: float
) -> dict[Series, Total]:
    """The sum of each series over the periods of this length that began from `since` to `until`, unix seconds.

    Later ones are of a clock that was ahead.
    """
    c = rollups.c
    found: dict[Series, Total] = {}
    for kind in kinds:
        rows = connection.execute(
            select(c.name, c.label, func.sum(c.count), func.max(c.at))
            .where(c.seconds == seconds, c.kind == str(kind), c.at >= since, c.at <= until)
            .group_by(c.name, c.label)
        )
        found |= {Series(kind, name, label): Total(int(count), at) for name, label, count, at in rows}
    return found


class Point(NamedTuple):
    """The sum of one series in the step that begins at `at`, unix seconds."""

    at: int
    sum: int


def points(
    connection: Connection, seconds: int, kind: Kind, since: float, until: float, step: int,
    columns: Sequence[Literal["name", "label"]], name: str | None = None,
) -> dict[tuple[str, ...], list[Point]]:  # fmt: skip
    """Counts by the values of these columns and by step, without the steps in which nothing was counted.

    Args:
        seconds: the length of the periods to add up.
        since: when the first period begins at the earliest, unix seconds; `until`: before which the last one begins.
        step: seconds, a multiple of `seconds`.
        columns: the counts of all others are added up.
        name: only of this source or handler.
    """
    c = rollups.c
    begins = (cast(c.at, BigInteger) - cast(c.at, BigInteger) % literal_column(str(int(step)))).label("begins")
    series = [c[column] for column in columns]
    statement = (
        select(begins, func.sum(c.count), *series)
        .where(c.seconds == seconds, c.kind == str(kind), c.at >= since, c.at < until)
        .group_by(begins, *series)
    )
    if name is not None:
        statement = statement.where(c.name == name)
    found: dict[tuple[str, ...], list[Point]] = {}
    for at, count, *values in connection.execute(statement):
        found.setdefault(tuple(values), []).append(Point(int(at), int(count)))
    return found


# delete


def find_old(connection: Connection, before: float, after: str | None, limit: int, seconds: int = MINUTE) -> Page:
    """The periods of this length that began before `before`, by kind, as `Prunable.find`; an id is kind and time."""
    c = rollups.c
    ids: list[str] = []
    kind_after, at_after = after.split(" ") if after else ("", "0")
    for kind in sorted(Kind):
        if kind < kind_after:
            continue
        at = float(at_after) if kind == kind_after else -1.0
        old = select(c.at).where(c.seconds == seconds, c.kind == str(kind), c.at > at, c.at < before)
        times = connection.execute(old.group_by(c.at).order_by(c.at).limit(limit - len(ids))).scalars()
        ids.extend(f"{kind} {time:.0f}" for time in times)
        if len(ids) == limit:
            return Page(ids, ids[-1])
    return Page(ids, None)


def delete_old(connection: Connection, before: float, ids: Sequence[str], seconds: int = MINUTE) -> int:
    """Delete the counts of these periods of this length that began before `before`; return how many."""
    c = rollups.c
    times: dict[str, list[float]] = {}
    for id in ids:
        kind, at = id.split(" ")
        if float(at) < before:
            times.setdefault(kind, []).append(float(at))
    old = [delete(rollups).where(c.seconds == seconds, c.kind == kind, c.at.in_(at)) for kind, at in times.items()]
    return sum(connection.execute(statement).rowcount for statement in old)


ROLLUPS = {
    seconds: Prunable(f"{name}_counts", partial(find_old, seconds=seconds), partial(delete_old, seconds=seconds))
    for seconds, name in ((MINUTE, "minute"), (HOUR, "hour"))
}
