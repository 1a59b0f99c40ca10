"""The page of sources and processes: what is configured, how it is doing, and which processes do the work."""

from __future__ import annotations

from starlette.responses import Response

from receiver.store.replicas import FRESH_SECONDS
from receiver.web.api.setup import list_processes, list_sources
from receiver.web.api.status import get_status
from receiver.web.console.pages import Page


async def sources_page(page: Page) -> Response:
    """The page at `/console/sources`."""
    status = await page.read(get_status)
    return await page.render(
        "sources.html",
        sources=(await page.read(list_sources)).items,
        states={of.name: of for of in status.sources},
        processes=(await page.read(list_processes)).items,
        fresh_seconds=FRESH_SECONDS,
    )
