"""The overview: is all well, and if not what to do first."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.responses import Response

from receiver.engine.series import By, Step
from receiver.engine.status import STORED
from receiver.store.replicas import FRESH_SECONDS
from receiver.store.rollups import UNFINISHED, Kind
from receiver.web.api.series import MAX_SERIES, SeriesList, list_series
from receiver.web.api.setup import list_processes
from receiver.web.api.status import get_status
from receiver.web.console.charts import Chart, Layer, chart
from receiver.web.console.pages import Page

PAGES_OF_PROBLEMS = {
    "runs_dead": "/runs?state=dead",
    "runs_late": "/runs?state=pending",
    "jobs_unknown": "/jobs?state=unknown",
    "quarantined": "/events?state=quarantined",
    "quarantine_full": "/events?state=quarantined",
}
"""Where the console shows what a problem is about."""
SPANS = ((Step.MINUTE, "last hour"), (Step.TEN_MINUTES, "last day"))


async def overview(page: Page) -> Response:
    """The page at `/console`."""
    status = await page.read(get_status)
    charts = []
    counted_until: datetime | None = None
    for step, span in SPANS:
        deliveries = await _series(page, Kind.DELIVERIES, step)
        charts.append(_chart("Deliveries", span, deliveries, ("accepted", "refused"), lambda label: label in STORED))
        attempts = await _series(page, Kind.RUNS, step)
        charts.append(_chart("Attempts", span, attempts, ("succeeded", "failed"), lambda label: label == "succeeded"))
        counted_until = counted_until or attempts.until  # that of minutes
    return await page.render(
        "overview.html",
        status=status,
        links=PAGES_OF_PROBLEMS,
        charts=charts,
        counted_until=counted_until,
        processes=(await page.read(list_processes)).items,
        fresh_seconds=FRESH_SECONDS,
    )


async def _series(page: Page, kind: Kind, step: Step) -> SeriesList:
    query = [("kind", str(kind)), ("step", str(step)), ("by", str(By.LABEL)), ("limit", str(MAX_SERIES))]
    found: SeriesList = await page.read(list_series, query)
    return found


def _chart(
    title: str, span: str, found: SeriesList, names: tuple[str, str], is_ok: Callable[[str], bool]
) -> Chart:  # fmt: skip
    """What went well below what did not."""
    layers: list[dict[str, Any]] = [{}, {}]
    for of in found.items:
        label = str(of.label)
        if label not in UNFINISHED:
            layers[not is_ok(label)][label] = of.counts
    steps = math.ceil((found.until - found.since).total_seconds() / found.step_seconds)
    ok, bad = (Layer(name, style, labels) for name, style, labels in zip(names, ("ok", "bad"), layers, strict=True))
    return chart(title, span, (ok, bad), found.since, found.step_seconds, steps)
