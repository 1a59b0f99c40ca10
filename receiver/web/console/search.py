"""The search box: one text, and the list that shows what it stands for."""

from __future__ import annotations

import re

from starlette.responses import Response

from receiver.web.api.events import list_events
from receiver.web.api.jobs import list_jobs
from receiver.web.api.problems import ProblemError
from receiver.web.console.pages import Page

_EVENT = re.compile(r"evt_[0-9a-f]{32}")
_JOB = re.compile(r"job_[0-9a-f]{32}")
_PAIR = re.compile(r"[^\s=]{1,64}=.{0,256}")


async def search(page: Page) -> Response:
    """To the event or the job with this id, else to the list of what has this metadata, job id or words."""
    text = dict(page.query).get("q", "").strip()
    if not text:
        return page.redirect("/events")
    if _EVENT.fullmatch(text):
        return page.redirect(f"/events/{text}")
    if _JOB.fullmatch(text):
        return page.redirect(f"/jobs/{text}")
    if _PAIR.fullmatch(text):
        return page.redirect("/events", [("metadata", text)])
    of_job = [("job_id", text)]
    try:
        if (await page.read(list_events, [*of_job, ("limit", "1")])).items:
            return page.redirect("/events", of_job)
        if (await page.read(list_jobs, [*of_job, ("limit", "1")])).items:
            return page.redirect("/jobs", of_job)
    except ProblemError:
        return page.redirect("/events", of_job)  # which shows what is wrong with it
    return page.redirect("/events", [("error_text", text)])
