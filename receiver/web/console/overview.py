"""The overview: is all well, and if not what to do first."""

from __future__ import annotations

from starlette.responses import Response

from receiver.web.api.status import get_status
from receiver.web.console.pages import Page

PAGES_OF_PROBLEMS = {
    "runs_dead": "/runs?state=dead",
    "runs_late": "/runs?state=pending",
    "jobs_unknown": "/jobs?state=unknown",
    "quarantined": "/events?state=quarantined",
    "quarantine_full": "/events?state=quarantined",
}
"""Where the console shows what a problem is about."""


async def overview(page: Page) -> Response:
    """The page at `/console`."""
    status = await page.read(get_status)
    return await page.render("overview.html", status=status, links=PAGES_OF_PROBLEMS)
