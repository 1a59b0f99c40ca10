"""The page of one job: what was submitted, how far it is, what it cost, and the event that ended it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from receiver.web.api.events import get_event
from receiver.web.api.jobs import cancel_job, get_job
from receiver.web.api.models import Job
from receiver.web.api.problems import ProblemError
from receiver.web.console.events import MAX_WAVEFORM_BYTES, costs
from receiver.web.console.pages import Page


async def job_page(page: Page) -> Response:
    """The page at `/console/jobs/ID`."""
    job: Job = await page.read(get_job, path=page.parameters)
    event: Any = None
    if job.event_id is not None:
        try:
            event = await page.read(get_event, path={"id": job.event_id})
        except ProblemError:  # deleted after its retention
            event = None
    return await page.render(
        "job.html",
        job=job,
        event=event,
        costs={
            **({} if job.chars_charged is None else {"chars_charged": job.chars_charged}),
            **({} if event is None else costs(event.payload)),
        },
        max_waveform_bytes=MAX_WAVEFORM_BYTES,
    )


async def cancel(page: Page) -> Response:
    """Stop watching a job."""
    job: Job = await page.change(cancel_job, None, page.parameters)
    return page.redirect(f"/jobs/{job.id}")
