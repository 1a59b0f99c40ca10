"""The page of one job: what was submitted, how far it is, what it cost, and the event that ended it."""

from __future__ import annotations

from pydantic import JsonValue
from starlette.responses import Response

from receiver.web.api.events import get_event
from receiver.web.api.jobs import cancel_job, get_job
from receiver.web.api.models import EventDetail, Job
from receiver.web.api.problems import ProblemError
from receiver.web.console.events import MAX_WAVEFORM_BYTES, costs
from receiver.web.console.pages import Page


async def job_page(page: Page) -> Response:
    """The page at `/console/jobs/ID`."""
    job: Job = await page.read(get_job, path=page.parameters)
    event: EventDetail | None = None
    if job.event_id is not None:
        try:
            event = await page.read(get_event, path={"id": job.event_id})
        except ProblemError:  # deleted after its retention
            event = None
    return await page.render(
        "job.html",
        job=job,
        event=event,
        costs=_costs(job, event),
        max_waveform_bytes=MAX_WAVEFORM_BYTES,
    )


def _costs(job: Job, event: EventDetail | None) -> dict[str, JsonValue]:
    """What the job was charged, as it stays when its event is deleted; in an older release's event, if it has one."""
    charged: dict[str, JsonValue] = {"chars_charged": job.chars_charged, "credits_used": job.credits_used}
    found: dict[str, JsonValue] = {name: value for name, value in charged.items() if value is not None}
    return found or ({} if event is None else costs(event.payload))


async def cancel(page: Page) -> Response:
    """Stop watching a job."""
    job: Job = await page.change(cancel_job, None, page.parameters)
    return page.redirect(f"/jobs/{job.id}")
