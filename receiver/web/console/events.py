"""The page of one event: what happened to it, what it contains, its audio; and running its handlers again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue
from starlette.responses import Response
from starlette.types import ASGIApp

from receiver.model.timestamps import utc
from receiver.web.api.audio import get_audio
from receiver.web.api.events import get_event, replay
from receiver.web.api.jobs import list_jobs
from receiver.web.api.models import EventDetail, Replayed
from receiver.web.api.problems import ProblemError
from receiver.web.console.pages import Page
from receiver.web.console.timeline import timeline

MAX_WAVEFORM_BYTES = 8_000_000
"""Of a larger file no waveform is drawn: the browser would have to load and decode all of it."""
_COSTS = ("chars_charged", "credits", "credits_used", "cost")
"""Members of an event's data that say what its job cost."""


async def event_page(page: Page) -> Response:
    """The page at `/console/events/ID`."""
    event: EventDetail = await page.read(get_event, path=page.parameters)
    notice = page.query_value("replayed")
    return await page.render(
        "event.html",
        event=event,
        timeline=timeline(event, utc(page.console.context.clock.now())),
        job=await _job_of(page, event),
        costs=costs(event.payload),
        metadata=event.payload.get("metadata"),
        trace_url=page.console.context.settings.console.trace_url,
        max_waveform_bytes=MAX_WAVEFORM_BYTES,
        replayed=int(notice) if notice.isdecimal() and len(notice) < 5 else None,
    )


async def _job_of(page: Page, event: EventDetail) -> Any:
    """The job that this event ended, if the receiver submitted or watched it."""
    if event.job_id is None:
        return None
    query = [("job_id", event.job_id), ("source", event.source), ("limit", "1")]
    try:
        return next(iter((await page.read(list_jobs, query)).items), None)
    except ProblemError:  # no list can be asked for an id of this form, or for a source that is no longer configured
        return None


def costs(payload: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """What the job cost, in the provider's words."""
    data = payload.get("data")
    found = {**payload, **(data if isinstance(data, dict) else {})}
    return {name: found[name] for name in _COSTS if isinstance(found.get(name), int | float | str)}


async def event_audio(page: Page) -> ASGIApp:
    """The file of an event, as the API sends it, ranges included."""
    wanted = (b"range", b"if-range")
    headers = [(name, value) for name, value in page.request.headers.raw if name in wanted]
    return await page.open(get_audio, page.query, page.parameters, headers)


async def replay_event(page: Page) -> Response:
    """Run the handlers of an event again: those that the form names, or all."""
    handlers = [name for name in page.form.get("handler", ()) if name]
    found: Replayed = await page.change(replay, {"handlers": handlers}, page.parameters)
    return page.redirect(f"/events/{found.event}", [("replayed", str(len(found.handlers)))])
