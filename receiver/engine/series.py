"""What was counted, as series over time: for charts, `top` and `GET /v1/series`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sqlalchemy import Connection

from receiver.store import rollups
from receiver.store.rollups import HOUR, MINUTE, RETENTION_SECONDS, Kind, Point

MAX_POINTS = 1440
"""Of one series: a day of minutes, 10 days of 10 minutes, 60 days of hours."""
LATE_SECONDS = 10.0
"""How long after the end of a minute every process has added what it counted, unless the store is slow."""


class Step(StrEnum):
    """The time between two points."""

    MINUTE = "1m"
    TEN_MINUTES = "10m"
    HOUR = "1h"

    @property
    def seconds(self) -> int:
        """Its length."""
        return {Step.MINUTE: MINUTE, Step.TEN_MINUTES: 10 * MINUTE, Step.HOUR: HOUR}[self]

    @property
    def usual_seconds(self) -> float:
        """The time that is shown unless another is requested: an hour, a day, a week."""
        return {Step.MINUTE: 3600.0, Step.TEN_MINUTES: 86_400.0, Step.HOUR: 7 * 86_400.0}[self]


class By(StrEnum):
    """Which counts are kept apart; all others are added up. `name` is that of a source or a handler."""

    BOTH = "both"
    NAME = "name"
    LABEL = "label"
    NONE = "none"


_COLUMNS: dict[By, Sequence[Literal["name", "label"]]] = {
    By.BOTH: ("name", "label"), By.NAME: ("name",), By.LABEL: ("label",), By.NONE: (),
}  # fmt: skip


class TooManyPoints(Exception):
    """The time has more steps than `MAX_POINTS`."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time, and its division into steps, the first of which begins at `since`. Unix seconds.

    Attributes:
        until: the last step begins before it.
    """

    step: Step
    since: float
    until: float

    @property
    def points(self) -> int:
        """How many steps there are."""
        return max(0, math.ceil((self.until - self.since) / self.step.seconds))


@dataclass(frozen=True, slots=True)
class CountedSeries:
    """One series.

    Attributes:
        name: of the source or handler; None: of all. `label` as `Kind` says; None: of all.
        counts: one for each step.
    """

    name: str | None
    label: str | None
    total: int
    counts: Sequence[int]


@dataclass(frozen=True, slots=True)
class SeriesFound:
    """The series with the largest totals, the largest first, and how many there are."""

    largest: Sequence[CountedSeries]
    series: int


def counted_until(now: float) -> float:
    """The end of the last minute that every process has counted, unix seconds."""
    return (now - LATE_SECONDS) // MINUTE * MINUTE


def window(step: Step, since: float | None, until: float | None, now: float) -> Window:
    """The steps of a time; by default its usual one, until the last minute that was counted.

    Args:
        since: unix seconds, as `until` and `now`; the first step is the one that it is in.

    Raises:
        TooManyPoints: it is too long.
    """
    until = counted_until(now) if until is None else until
    since = until - step.usual_seconds if since is None else since
    found = Window(step, since // step.seconds * step.seconds, until)
    if found.points > MAX_POINTS:
        raise TooManyPoints(f"It has {found.points:,} steps of {step}, and the limit is {MAX_POINTS:,}.")
    return found


def read_series(
    connection: Connection, kind: Kind, of: Window, by: By, limit: int, name: str | None = None
) -> SeriesFound:  # fmt: skip
    """Read the series of one kind; its cost depends on the length of the time, not on what is stored.

    Args:
        limit: at most so many series.
        name: only of this source or handler.
    """
    columns = _COLUMNS[by]
    length = HOUR if of.step is Step.HOUR else MINUTE
    points = rollups.points(connection, length, kind, of.since, of.until, of.step.seconds, columns, name)
    found = [
        CountedSeries(
            values[columns.index("name")] if "name" in columns else None,
            values[columns.index("label")] if "label" in columns else None,
            sum(point.sum for point in counted),
            _dense(counted, of),
        )
        for values, counted in points.items()
    ]
    found.sort(key=lambda series: (-series.total, series.name or "", series.label or ""))
    return SeriesFound(found[:limit], len(found))


def _dense(points: Sequence[Point], of: Window) -> list[int]:
    counts = [0] * of.points
    for at, count in points:
        counts[int((at - of.since) // of.step.seconds)] += count
    return counts


def period_seconds(since: float, now: float) -> int:
    """The length of the periods by which a time that begins at `since` can be summed: the shortest that is kept."""
    return MINUTE if since >= now - RETENTION_SECONDS[MINUTE] else HOUR
