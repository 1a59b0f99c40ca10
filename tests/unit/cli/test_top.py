"""Every frame of `top` fits its terminal, whatever the sources, handlers and problems are called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from receiver.cli.top.frame import render, sparkline
from receiver.cli.top.reading import Overview
from receiver.store.rollups import Kind
from receiver.web.api.models import RunErrors
from receiver.web.api.series import Series, SeriesList
from receiver.web.api.status import (
    HandlerState,
    ProcessCounts,
    RefusedDeliveries,
    RunCounts,
    SourcePause,
    SourceState,
    Status,
    StatusProblem,
)

AT = datetime(2026, 11, 27, 20, 41, 7, tzinfo=UTC)
TEXTS = st.text(max_size=90)
COUNTS = st.integers(0, 10**9)


def series(kind: Kind, counts: dict[str, list[int]]) -> SeriesList:
    items = [Series(source=None, handler=None, label=of, total=sum(c), counts=c) for of, c in counts.items()]
    return SeriesList(
        kind=kind, since=AT - timedelta(hours=1), until=AT, step_seconds=60, items=items, series=len(items)
    )


def overview(**changes: Any) -> Overview:
    status: dict[str, Any] = {
        "ok": True, "at": AT, "problems": [], "processes": ProcessCounts(receiving=1, working=2), "clocks": [],
        "runs": RunCounts(pending=12, running=3, dead=0, oldest_due_seconds=7.0),
        "dead": RunErrors(items=[], groups=0, runs=0), "sources": [], "handlers": [], "disks": [],
    }  # fmt: skip
    known = {name: value for name, value in status.items() if name in Status.model_fields}
    deliveries = series(Kind.DELIVERIES, {"accepted": [0] * 59 + [1234], "mismatch": [3] * 60, "duplicate": [9] * 60})
    runs = series(Kind.RUNS, {"succeeded": [5] * 60, "failed": [0] * 60, "postponed": [1] * 60, "crashed": [2] * 60})
    return Overview(Status(**(known | changes)), deliveries, runs)


def source(name: str, *, refused: int = 0, paused: str | None = None) -> SourceState:
    return SourceState(
        name=name, accepted=5, duplicates=0, ended_by_polling=2,
        refused=[RefusedDeliveries(reason="mismatch", last_day=refused, last_week=refused, last_at=AT)],
        quarantined=refused, pause=None if paused is None else SourcePause(until=AT, reason=paused), failing=[],
        silent_seconds=0.0, silent=False, received_at=AT - timedelta(seconds=12), open_jobs=1, unknown_jobs=0,
        rate_limits=[],
    )  # fmt: skip


def handler(name: str, pending: int = 0, dead: int = 0) -> HandlerState:
    return HandlerState(
        name=name, succeeded=3, failed=1, failure_rate=0.25, p50_seconds=0.05, p95_seconds=None, pending=pending,
        running=0, dead=dead,
    )  # fmt: skip


def test_rates_are_those_of_the_last_minute_and_of_the_hour() -> None:
    lines = render(overview(), 80, 24)
    assert lines[0] == "✓ All is well."
    assert "          a minute  the last hour, counted until 20:41Z" in lines
    assert "accepted     1,234  " + "·" * 59 + "█" in lines
    assert "refused          3  " + "█" * 60 in lines
    assert "succeeded        5  " + "█" * 60 in lines
    assert "failed           2  " + "█" * 60 in lines
    assert "runs       12 pending, 3 running, 0 dead; oldest due for 7 s" in lines


def test_the_tables_share_the_lines_and_say_how_many_more_there_are() -> None:
    handlers = [handler(f"handler_{n}", dead=n) for n in range(30)]
    lines = render(
        overview(handlers=handlers, sources=[source("aitts", paused="provider_rate_limited")]), 80, 24, None, "q"
    )
    assert len(lines) == 24
    assert [line.split()[0] for line in lines if line.startswith("handler_")][:2] == ["handler_29", "handler_28"]
    shown = sum(line.startswith("handler_") for line in lines)
    assert f"and {30 - shown} more: tts-receiver status --json" in lines
    assert shown >= 4
    assert any("paused until 20:41:07Z" in line for line in lines)
    lines = render(overview(handlers=handlers[:2], sources=[source(f"source_{n}") for n in range(30)]), 80, 24)
    assert sum(line.startswith("handler_") for line in lines) == 2
    assert sum(line.startswith("source_") for line in lines) >= 4


def test_a_store_that_cannot_be_read_is_the_sentence_on_top() -> None:
    lines = render(overview(), 80, 24, "Not read since 20:41:07Z: The store is locked.\nLine two \x1b[2J")
    assert lines[0].startswith("✗ Not read since 20:41:07Z")
    assert "\x1b" not in "".join(lines)


@given(st.integers(1, 200), st.integers(1, 60), st.lists(TEXTS, max_size=12), TEXTS, COUNTS)
def test_every_frame_fits(width: int, height: int, names: list[str], text: str, number: int) -> None:
    found = overview(
        problems=[StatusProblem(name="x", text=text, command=text)] * (number % 3),
        handlers=[handler(name, number, number) for name in names],
        sources=[source(name, refused=number, paused=text) for name in names],
    )
    for trouble in (None, text):
        lines = render(found, width, height, trouble, "read every 2 s; q ends")
        assert len(lines) == height
        assert all(cell_len(line) <= width for line in lines)
        assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("counts", "shown"), [([], ""), ([0, 0], "··"), ([1], "█"), ([0, 1, 1000], "·▁█"), ([4, 8], "▄█")]
)
def test_a_sparkline_has_a_bar_for_what_is_not_zero(counts: list[int], shown: str) -> None:
    assert sparkline(counts) == shown
