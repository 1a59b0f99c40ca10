"""What happened to an event, from its delivery to the end of its last run: attempts, waits, and fetches of audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from receiver.web.api.models import Artifact, Attempt, EventDetail, Run

WIDTH, HEIGHT = 1000, 14
MIN_WIDTH = 4
"""Of the shortest attempt, in units of the width."""
_OK = ("succeeded",)
_NEUTRAL = ("released", "retry_later")


@dataclass(frozen=True, slots=True)
class Step:
    """An attempt, and how long the run waited for it.

    Attributes:
        waited_seconds: since the delivery, or since the end of the attempt before.
    """

    attempt: Attempt
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One run with its attempts, and a bar of them over time.

    Attributes:
        waited_seconds, worked_seconds: in total, until the last attempt has ended.
    """

    run: Run
    steps: Sequence[Step]
    bar: Markup

    @property
    def waited_seconds(self) -> float:
        """Before all attempts together."""
        return sum(step.waited_seconds for step in self.steps)

    @property
    def worked_seconds(self) -> float:
        """In all attempts together."""
        return sum(step.attempt.seconds for step in self.steps)


@dataclass(frozen=True, slots=True)
class FetchLane:
    """The fetches of the event's audio.

    Attributes:
        seconds: in total; several files are fetched at a time.
    """

    bar: Markup
    seconds: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """All lanes, over the same time.

    Attributes:
        audio: None if no audio is stored.
    """

    lanes: Sequence[Lane]
    audio: FetchLane | None
    since: datetime
    until: datetime


def timeline(event: EventDetail, now: datetime) -> Timeline:
    """The runs of an event. It ends with the last attempt; with the present, while a run is open."""
    since = event.received_at
    ends = [_end(attempt) for attempt in event.attempts]
    ends += [file.fetched_at for file in event.artifacts]
    if any(run.state in ("pending", "running") for run in event.runs):
        ends.append(now)
    until = max([*ends, since + timedelta(milliseconds=1)])
    scale = _Scale(since, until)
    lanes = [_lane(event, run, scale, now) for run in event.runs]
    return Timeline(lanes, _fetches(event.artifacts, scale), since, until)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where moments are in a bar."""

    since: datetime
    until: datetime

    def __call__(self, moment: datetime) -> float:
        whole = (self.until - self.since).total_seconds()
        return WIDTH * min(1.0, max(0.0, (moment - self.since).total_seconds() / whole))


def _fetches(files: Sequence[Artifact], at: _Scale) -> FetchLane | None:
    if not files:
        return None
    began = {file.n: file.fetched_at - timedelta(seconds=file.fetch_seconds) for file in files}
    parts = [_rect("fetch", at(began[file.n]), at(file.fetched_at), 0, HEIGHT) for file in files]
    seconds = (max(file.fetched_at for file in files) - min(began.values())).total_seconds()
    return FetchLane(_bar(f"audio: {len(files)} fetched", parts), seconds)


def _lane(event: EventDetail, run: Run, at: _Scale, now: datetime) -> Lane:
    attempts = sorted((of for of in event.attempts if of.handler == run.handler), key=lambda of: of.number)
    steps, before = [], at.since
    for attempt in attempts:
        steps.append(Step(attempt, max(0.0, (attempt.started_at - before).total_seconds())))
        before = _end(attempt)
    running = run.started_at if run.state == "running" else None
    last = now if run.state == "pending" else running or before
    parts = [_rect("waiting", 0.0, at(last), HEIGHT / 2 - 1, 2)]
    for attempt in attempts:
        kind = "ok" if attempt.outcome in _OK else "neutral" if attempt.outcome in _NEUTRAL else "bad"
        parts.append(_rect(kind, at(attempt.started_at), at(_end(attempt)), 0, HEIGHT))
    if running is not None:
        parts.append(_rect("running", at(running), at(now), 0, HEIGHT))
    return Lane(run, steps, _bar(f"{run.handler}: {len(attempts)} attempts, {run.state}", parts))


def _bar(label: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, label, Markup("").join(parts)
    )


def _rect(kind: str, left: float, right: float, y: float, height: float) -> Markup:
    width = max(MIN_WIDTH, right - left)
    left = min(left, WIDTH - width)
    return Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
        kind, left, y, width, height
    )


def _end(attempt: Attempt) -> datetime:
    return attempt.started_at + timedelta(seconds=attempt.seconds)
