"""What of a status needs an operator, the most urgent first, and which command to run next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from receiver.engine.status import OPERATOR_REASONS, Refusals, SourceStatus, Status
from receiver.store.run_errors import ErrorGroup
from receiver.store.states import RunState

LATE_SECONDS = 300.0
"""How long a due run may wait for its start."""
RECENT_SECONDS = 900.0
"""For how long a delivery that could not be stored counts: the provider repeats it."""
_WRONG_SECRET = ("mismatch", "no_active_key")
"""Other faults of signatures are those of strangers: the provider's deliveries have a signature."""
_UNREADABLE = ("malformed_json", "not_an_object", "no_event", "no_job_id", "malformed")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that needs an operator.

    Attributes:
        name: a slug.
        text: a sentence.
        command: to run next.
    """

    name: str
    text: str
    command: str


def find_problems(status: Status) -> list[Problem]:
    """All problems, the most urgent first."""
    by_source = (_store_refuses, _key_refused, _failing, _silent, _wrong_secret, _unreadable)
    return [
        *_processes(status),
        *_clocks(status),
        *_disks(status),
        *(problem for find in by_source for source in status.sources for problem in find(source, status.at)),
        *_runs(status),
        *_operations(status),
        *(problem for source in status.sources for problem in _decisions(source)),
    ]


def _processes(status: Status) -> Iterator[Problem]:
    if not status.receiving + status.working:
        text = "No receiver is running: deliveries are not accepted, and no handler starts."
        yield Problem("not_running", text, "tts-receiver serve")
    elif not status.working:
        text = "No process starts handlers or polls jobs; deliveries are stored."
        yield Problem("no_worker", text, "tts-receiver serve --only worker")
    elif not status.receiving and any(source.receives_webhooks for source in status.sources):
        yield Problem("no_intake", "No process accepts deliveries.", "tts-receiver serve --only intake")


def _clocks(status: Status) -> Iterator[Problem]:
    if not status.wrong_clocks:
        return
    worst, others = status.wrong_clocks[0], len(status.wrong_clocks) - 1
    direction = "ahead of" if worst.difference > 0 else "behind"
    effect = "it claims no runs and jobs" if worst.role.works else "its events have a wrong time"
    text = f"The clock of {worst.name} is {abs(worst.difference):,.0f} s {direction} the database server's: {effect}."
    if others:
        text += " One more process has a wrong clock." if others == 1 else f" {others} more have wrong clocks."
    yield Problem("clock_differs", text, "tts-receiver processes list")


def _disks(status: Status) -> Iterator[Problem]:
    for disk in status.disks:
        if disk.low:
            free = f"{(disk.free_bytes or 0) / 1e6:.0f} MB"
            text = f"Only {free} are free on the disk of the {disk.holds}."
            yield Problem("disk_low", text, f"du -sh {shlex.quote(disk.folder)}")


def _store_refuses(source: SourceStatus, now: float) -> Iterator[Problem]:
    for refused in source.refused:
        if refused.last_at is None or refused.last_at < now - RECENT_SECONDS:
            continue
        if refused.reason.startswith("store_"):
            text = f"Deliveries of {source.name} could not be stored ({refused.reason})."
            yield Problem("not_stored", text, "tts-receiver check")
        elif refused.reason == "quarantine_full":
            text = f"The quarantine of {source.name} is full: further deliveries are refused."
            yield Problem("quarantine_full", text, "tts-receiver events list --state quarantined")


def _key_refused(source: SourceStatus, now: float) -> Iterator[Problem]:
    if source.pause is not None and source.pause.reason in OPERATOR_REASONS:
        text = f"No request is sent to {source.name}: it is paused ({source.pause.reason})."
        yield Problem("source_paused", text, f"tts-receiver sources test {source.name}")


def _failing(source: SourceStatus, now: float) -> Iterator[Problem]:
    if source.pause is not None and source.pause.reason in OPERATOR_REASONS:
        return
    for failing in source.failing:
        text = f"All {failing.what} of {source.name} fail, {failing.count:,} in the last hour ({failing.reason})."
        yield Problem("source_failing", text, f"tts-receiver sources test {source.name}")


def _silent(source: SourceStatus, now: float) -> Iterator[Problem]:
    if source.is_silent and not source.failing and source.pause is None:
        text = f"{source.name} has open jobs, and nothing was received from it for {_span(source.silent_seconds)}."
        yield Problem("source_silent", text, f"tts-receiver sources test {source.name}")


def _wrong_secret(source: SourceStatus, now: float) -> Iterator[Problem]:
    if refused := _since_accepted(source, _WRONG_SECRET):
        what = "no signing secret is valid now" if refused.reason == "no_active_key" else "a wrong secret or a forger"
        text = f"Deliveries of {source.name} are refused, {refused.last_day:,} in 24 hours: {what}."
        yield Problem("wrong_secret", text, "tts-receiver sources list")


def _unreadable(source: SourceStatus, now: float) -> Iterator[Problem]:
    if refused := _since_accepted(source, _UNREADABLE):
        text = f"Signed deliveries of {source.name} cannot be read ({refused.reason}); the log says why."
        yield Problem("unreadable", text, "tts-receiver status --json")


def _since_accepted(source: SourceStatus, reasons: tuple[str, ...]) -> Refusals | None:
    """The most frequent refusals for these reasons; only if no delivery was accepted after the last one."""
    found = (refused for refused in source.refused if refused.reason in reasons and refused.since_accepted)
    return next(found, None)


def _runs(status: Status) -> Iterator[Problem]:
    if status.working and (status.oldest_due_seconds or 0.0) > LATE_SECONDS:
        text = f"A run is due for {_span(status.oldest_due_seconds or 0.0)}, and no process has started it."
        yield Problem("runs_late", text, "tts-receiver handlers")
    if dead := status.runs[RunState.DEAD]:
        largest = status.dead.largest[0] if status.dead.largest else None
        runs, of = ("One run has", "") if dead == 1 else (f"{dead:,} runs have", "{:,} of them ")
        why = "" if largest is None else f", {of.format(largest.count)}in {_why(largest)}"
        yield Problem("runs_dead", f"{runs} failed for good{why}.", "tts-receiver runs errors")


def _why(group: ErrorGroup) -> str:
    """The handler, and why its runs failed, if code that stored the reason has run them."""
    return f"{group.handler} ({why})" if (why := group.reason or group.error_kind) else group.handler


def _span(seconds: float) -> str:
    for name, length in (("days", 86_400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {name}"
    return f"{seconds / 60:.0f} minutes"


def _operations(status: Status) -> Iterator[Problem]:
    for failed in status.failed_operations:
        text = f"The operation {failed.kind} failed after {failed.changed:,} changes: {failed.detail.rstrip('.')}."
        yield Problem("operation_failed", text, f"tts-receiver operations resume {failed.id}")


def _decisions(source: SourceStatus) -> Iterator[Problem]:
    """What waits until an operator decides."""
    if source.unknown_jobs:
        text = f"It is unknown whether {source.name} accepted {source.unknown_jobs:,} jobs."
        yield Problem("jobs_unknown", text, "tts-receiver jobs list --state unknown")
    if source.quarantined:
        text = f"{source.quarantined:,} events of {source.name} are in quarantine: signed, with a time far from ours."
        yield Problem("quarantined", text, "tts-receiver events list --state quarantined")
