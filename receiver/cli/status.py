"""`status`: is all well, and if not what to do first."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from receiver.cli.options import Config, Json
from receiver.cli.text_output import echo, echo_error, print_model

if TYPE_CHECKING:
    from receiver.settings import Settings
    from receiver.store.database import Database
    from receiver.web.api.setup_models import RateBucket
    from receiver.web.api.status import SourceState, Status

MAX_PROBLEMS, MAX_GROUPS, MAX_SOURCES, MAX_HANDLERS = 3, 2, 3, 2
"""Lines of each part, so that all fits into 24 lines of 80 characters."""
UNREADABLE = 2
"""The exit status if the status cannot be read."""


def status(config: Config = None, json: Json = False) -> None:
    """Show on one screen whether all is well, and if not what to do first.

    Exit 1 if an operator is needed, 2 if the store cannot be read.
    """
    from receiver.cli.error_report import lines_of
    from receiver.errors import ReceiverError

    try:
        found = _read(config)
    except ReceiverError as error:
        echo_error(*lines_of(error))
        raise typer.Exit(UNREADABLE) from None
    if json:
        print_model(found)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        echo(*_verdict(found), "", *(line[:width] for line in _facts(found)))
    if not found.ok:
        raise typer.Exit(1)


def _read(config: Config) -> Status:
    from receiver.cli.session import clock_difference, open_session

    with open_session(config) as (settings, database):
        return read_now(settings, database, time.time() - clock_difference(database))


def read_now(settings: Settings, database: Database, now: float) -> Status:
    """The status, as the API has it.

    Args:
        now: unix seconds, by the clock of heartbeats.

    Raises:
        ListingTimeout: reading took too long.
        StoreUnavailable: the store cannot be read.
    """
    from receiver.assembly.resources import open_audio
    from receiver.assembly.sources import job_sources
    from receiver.engine.disks import read_disks
    from receiver.engine.status import read_status
    from receiver.model.redact import Redactor
    from receiver.web.api.status import status_of

    try:
        living = database.find_living()
    except OSError:
        living = None
    disks = read_disks(database.folder, open_audio(settings).folder)
    found = database.query_list(read_status, settings, list(job_sources(settings)), living, disks, now)
    return status_of(found, Redactor(settings.secrets()))


def _verdict(found: Status) -> Iterator[str]:
    if found.ok:
        yield "✓ All is well."
    for problem in found.problems[:MAX_PROBLEMS]:
        yield f"✗ {problem.text}"
        yield f"  {problem.command}"
    if (more := len(found.problems) - MAX_PROBLEMS) > 0:
        yield f"  and {more} more: tts-receiver status --json"


def _facts(found: Status) -> Iterator[str]:
    from receiver.engine.series import counted_until
    from receiver.model.timestamps import utc

    processes, runs = found.processes, found.runs
    yield f"processes  {processes.receiving} accepting deliveries, {processes.working} starting handlers"
    due = "" if runs.oldest_due_seconds is None else f"; oldest due for {format_duration(runs.oldest_due_seconds)}"
    yield f"runs       {runs.pending:,} pending, {runs.running:,} running, {runs.dead:,} dead{due}"
    for group in found.dead.items[:MAX_GROUPS]:
        words = " ".join(filter(None, (group.handler, group.error_kind, group.reason)))
        yield f"  dead     {group.count:,} {words}"
    for source in sorted(found.sources, key=urgency)[:MAX_SOURCES]:
        left = ", ".join(map(format_rate_limit, source.rate_limits))
        yield f"source     {source.name}: {', '.join(source_states(source)) or 'no trouble'}{left and f'; {left} left'}"
        yield f"  24 h     {', '.join(_deliveries(source))}"
    handled = [of for of in found.handlers if of.failure_rate is not None]
    for handler in sorted(handled, key=lambda of: -of.failed)[:MAX_HANDLERS]:
        attempts = handler.succeeded + handler.failed
        yield (
            f"handler    {handler.name}: {attempts:,} attempts/h, {handler.failure_rate:.1%} failed, "
            f"p50 {format_bound(handler.p50_seconds)}, p95 {format_bound(handler.p95_seconds)}"
        )
    until = counted_until(found.at.timestamp())
    yield f"counted    deliveries and attempts until {utc(until):%H:%M}Z: they are added once a minute"
    for disk in found.disks:
        free = "unknown" if disk.free_bytes is None else f"{disk.free_bytes / 1e9:.1f} GB free"
        yield f"disk       {disk.holds}: {free}"


def urgency(source: SourceState) -> tuple[bool, int]:
    """Sources with trouble first."""
    troubled = source.silent or bool(source.failing) or source.pause is not None or source.unknown_jobs > 0
    return not troubled, -sum(refused.last_day for refused in source.refused)


def source_states(source: SourceState) -> Iterator[str]:
    """What is wrong with it, in few words each."""
    if source.pause is not None:
        yield f"paused until {source.pause.until:%H:%M:%S}Z ({source.pause.reason})"
    for failing in source.failing:
        yield f"{failing.what} fail"
    if source.silent:
        yield f"silent for {format_duration(source.silent_seconds)}"
    if source.quarantined:
        yield f"{source.quarantined:,} in quarantine"
    if source.unknown_jobs:
        yield f"{source.unknown_jobs:,} jobs unknown"


def _deliveries(source: SourceState) -> Iterator[str]:
    yield f"{source.accepted:,} accepted"
    if source.duplicates:
        yield f"{source.duplicates:,} duplicates"
    refused = sum(refused.last_day for refused in source.refused)
    if refused:
        reasons = (f"{of.reason} {of.last_day:,}" for of in source.refused[:3] if of.last_day)
        yield f"{refused:,} refused ({', '.join(reasons)})"


def format_rate_limit(of: RateBucket) -> str:
    """As `3/10 submit`."""
    left, limit = ("?" if value is None else f"{value:,}" for value in (of.remaining, of.limit))
    return f"{left}/{limit}" + (f" {of.bucket}" if of.bucket else "")


def format_bound(seconds: float | None) -> str:
    """The upper bound of a percentile."""
    return "–" if seconds is None else f"≤ {seconds:g} s"


def format_duration(seconds: float) -> str:
    """A duration in its largest unit, of which it has two at least."""
    for name, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s"
