"""One frame of `top` as lines of text that fit a terminal. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size

from receiver.cli.status import format_bound, format_duration, source_states, urgency
from receiver.cli.table_layout import NONE, Column, fit
from receiver.engine.status import STORED
from receiver.model.printable import printable
from receiver.store.rollups import UNFINISHED

if TYPE_CHECKING:
    from receiver.cli.top.reading import Overview
    from receiver.web.api.series import SeriesList
    from receiver.web.api.status import HandlerState, SourceState, Status

BARS = "▁▂▃▄▅▆▇█"
ZERO = "·"
MIN_WIDTH = 20
"""In a narrower terminal lines are cut."""
VERDICT_LINES = 2
"""Of the sentence on top."""


def render(found: Overview, width: int, height: int, trouble: str | None = None, footer: str = "") -> list[str]:
    """At most `height` lines of at most `width` cells.

    Args:
        trouble: why the store cannot be read now: shown instead of the sentence on top.
        footer: of the last line, after the time of what is shown.
    """
    status = found.status
    lines = [*_verdict(status, width, trouble), "", *_rates(found, width), "", *_totals(status), ""]
    last = f"{status.at:%H:%M:%S}Z  {footer}".rstrip()
    left = height - len(lines) - 1
    handlers, sources = _split(left - 3, len(status.handlers), len(status.sources))
    lines += _handlers(status, width, handlers)
    lines.append("")
    lines += _sources(status, width, sources)
    shown = [_cut(printable(line), width) for line in lines[: max(0, height - 1)]]
    return [*shown, *[""] * (height - 1 - len(shown)), _cut(last, width)] if footer else [*shown, _cut(last, width)]


def _cut(line: str, width: int) -> str:
    return line if cell_len(line) <= width else set_cell_size(line, width)


def _split(rows: int, handlers: int, sources: int) -> tuple[int, int]:
    """How many rows each table gets: half of them, and what the other does not need."""
    rows = max(0, rows)
    of_sources = min(sources, max(rows // 2, rows - handlers))
    return min(handlers, rows - of_sources), of_sources


def _verdict(status: Status, width: int, trouble: str | None) -> Iterator[str]:
    if trouble is not None:
        yield from _wrapped(trouble, width)
    elif not status.problems:
        yield "✓ All is well."
    else:
        first = status.problems[0]
        yield from _wrapped(first.text, width)
        more = len(status.problems) - 1
        yield f"  {first.command}" + (f"   and {more} more: tts-receiver status" if more else "")


def _wrapped(sentence: str, width: int) -> list[str]:
    return textwrap.wrap(
        f"✗ {printable(sentence)}", max(width, MIN_WIDTH), subsequent_indent="  ", max_lines=VERDICT_LINES
    )


def _rates(found: Overview, width: int) -> Iterator[str]:
    deliveries, runs = found.deliveries, found.runs
    yield f"{'':<10}{'a minute':>8}  the last hour, counted until {deliveries.until:%H:%M}Z"
    yield _rate("accepted", _sum(deliveries, lambda label: label == "accepted"), width)
    yield _rate("refused", _sum(deliveries, lambda label: label not in STORED), width)
    yield _rate("succeeded", _sum(runs, lambda label: label == "succeeded"), width)
    yield _rate("failed", _sum(runs, lambda label: label not in ("succeeded", *UNFINISHED)), width)


def _sum(series: SeriesList, wanted: Callable[[str], bool]) -> list[int]:
    """The sum of the series with these labels, by minute."""
    minutes = int((series.until - series.since).total_seconds()) // series.step_seconds
    chosen = [item.counts for item in series.items if wanted(item.label or "")]
    return [sum(counts) for counts in zip(*chosen, strict=True)] or [0] * minutes


def _rate(name: str, counts: Sequence[int], width: int) -> str:
    line = f"{name:<10}{counts[-1]:>8,}  "
    return line + sparkline(counts[-max(1, width - len(line)) :])


def sparkline(counts: Sequence[int]) -> str:
    """A bar for each number, the highest for the largest; a dot for 0."""
    highest = max(counts, default=0)
    return "".join(BARS[(count * len(BARS) - 1) // highest] if count else ZERO for count in counts)


def _totals(status: Status) -> Iterator[str]:
    runs, processes = status.runs, status.processes
    due = "" if runs.oldest_due_seconds is None else f"; oldest due for {format_duration(runs.oldest_due_seconds)}"
    yield f"runs       {runs.pending:,} pending, {runs.running:,} running, {runs.dead:,} dead{due}"
    quarantined = sum(source.quarantined for source in status.sources)
    open_jobs, unknown = (
        sum(getattr(source, name) for source in status.sources) for name in ("open_jobs", "unknown_jobs")
    )
    yield f"events     {quarantined:,} in quarantine; jobs {open_jobs:,} open, {unknown:,} unknown"
    yield f"processes  {processes.receiving} accepting deliveries, {processes.working} starting handlers"


def _handlers(status: Status, width: int, rows: int) -> Iterator[str]:
    found = sorted(status.handlers, key=lambda of: (-of.dead, -(of.pending + of.running), -of.failed, of.name))
    columns = (
        Column("handler", lambda of: of.name, 0, 10),
        Column("pending", lambda of: f"{of.pending:,}", 0, right=True),
        Column("running", lambda of: f"{of.running:,}", 0, right=True),
        Column("dead", lambda of: f"{of.dead:,}", 0, right=True),
        Column("1 h", lambda of: f"{of.succeeded + of.failed:,}", 1, right=True),
        Column("failed", _failure_rate, 0, right=True),
        Column("p50", lambda of: format_bound(of.p50_seconds), 1, right=True),
        Column("p95", lambda of: format_bound(of.p95_seconds), 1, right=True),
    )
    yield from _table(columns, found, width, rows)


def _failure_rate(handler: HandlerState) -> str | None:
    return None if handler.failure_rate is None else f"{handler.failure_rate:.1%}"


def _sources(status: Status, width: int, rows: int) -> Iterator[str]:
    found = sorted(status.sources, key=urgency)
    columns = (
        Column("source", lambda of: of.name, 0, 10),
        Column("received", lambda of: _ago(of.received_at, status.at), 0, right=True),
        Column("24 h", lambda of: f"{of.accepted:,}", 1, right=True),
        Column("refused", _refused, 1, right=True),
        Column("state", lambda of: ", ".join(source_states(of)) or "no trouble", 0, 20),
    )
    yield from _table(columns, found, width, rows)


def _ago(at: datetime | None, now: datetime) -> str | None:
    return None if at is None else f"{format_duration(max(0.0, (now - at).total_seconds()))} ago"


def _refused(source: SourceState) -> str:
    return f"{sum(refused.last_day for refused in source.refused):,}"


def _table(columns: Sequence[Column], found: Sequence[Any], width: int, rows: int) -> Iterable[str]:
    """The header, and `rows` lines, the last of which says how many more there are."""
    cut = len(found) > rows
    shown = found[: max(0, rows - 1)] if cut else found
    texts = [[_text(column.value(row)) for column in columns] for row in shown]
    layout = fit(columns, texts, width)
    yield "  ".join(layout.cells([column.header for column in columns]))
    for row in texts:
        yield "  ".join(layout.cells(row))
    if cut and rows:
        yield f"and {len(found) - len(shown)} more: tts-receiver status --json"


def _text(value: str | None) -> str:
    return NONE if value is None else printable(value)
