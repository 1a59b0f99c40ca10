"""What pages load from the API with the viewer's session: the stream of events."""

from __future__ import annotations

from starlette.types import ASGIApp

from receiver.web.api.stream import stream
from receiver.web.console.long_responses import while_session_lasts
from receiver.web.console.pages import Page


async def events(page: Page) -> ASGIApp:
    """Tells a page that something has happened; it reads itself again."""
    headers = [(name, value) for name, value in page.request.headers.raw if name == b"last-event-id"]
    response = await page.open(stream, page.query, headers=headers)
    console = page.console
    return while_session_lasts(response, page.viewer.session, console.access.sessions, console.context.clock)
