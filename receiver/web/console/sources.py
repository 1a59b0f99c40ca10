"""The page of sources and processes: what is configured, how it is doing, and which processes do the work."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import Response

from receiver.store.replicas import FRESH_SECONDS
from receiver.web.api.setup import list_processes, list_sources
from receiver.web.api.setup_models import ConfiguredSource, SourceList
from receiver.web.api.status import get_status
from receiver.web.console.lists import file_of
from receiver.web.console.pages import Handler, Page


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


def export_sources(form: str) -> Handler:
    """The sources as a file; `form` as for `lists.export`."""

    async def send(page: Page) -> Response:
        found: SourceList = await page.read(list_sources)

        async def pages() -> AsyncIterator[SourceList]:
            yield found

        return file_of("sources", form, pages(), ConfiguredSource)

    return send
