"""The search box: one text, and the list that shows what it stands for."""

from __future__ import annotations

import re

from starlette.responses import Response

from receiver.model.ids import time_of_id
from receiver.model.timestamps import utc
from receiver.web.api.events import list_events
from receiver.web.api.fields import MAX_ITEMS
from receiver.web.api.jobs import list_jobs
from receiver.web.api.problems import ProblemError
from receiver.web.console.pages import Page

_EVENT = re.compile(r"evt_[0-9a-f]{32}")
_JOB = re.compile(r"job_[0-9a-f]{32}")
MAX_TIME = 250_000_000_000.0
"""Unix seconds; digits that mean a later time are those of something else."""
_SHORT = re.compile(r"(evt_|job_)?([0-9a-f]{16,31})")
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
    if (short := _SHORT.fullmatch(text)) and (path := await _of_short_id(page, short[1], short[2])):
        return page.redirect(path)
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


async def _of_short_id(page: Page, prefix: str | None, digits: str) -> str | None:
    """The page of the event or job whose id begins with these digits; None if there is none, or several.

    They begin with its time in milliseconds, so few ids are read.
    """
    began = time_of_id(f"evt_{digits:0<32}")
    if began is None or began > MAX_TIME:
        return None
    between = [("since", utc(began).isoformat()), ("until", utc(began + 0.001).isoformat())]
    for run, known, name in ((list_events, "evt_", "events"), (list_jobs, "job_", "jobs")):
        if prefix in (None, known):
            found = await page.read(run, [*between, ("limit", str(MAX_ITEMS))])
            ids = [item.id for item in found.items if item.id.startswith(f"{known}{digits}")]
            if len(ids) == 1:
                return f"/{name}/{ids[0]}"
    return None
