"""Makes pages of templates, in a thread of their own, and their responses, with headers that keep them apart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

from receiver.web.console.formats import FILTERS, GLOBALS, shown

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Of every page. With `no-referrer` browsers would send forms with `Origin: null`."""


class Renderer:
    """The templates. Every value that they show passes `shown`, and is escaped."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("receiver.web.console"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=shown,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= FILTERS
        self._environment.globals |= GLOBALS
        self._thread = ThreadPoolExecutor(1, "console")

    async def page(self, template: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """A page as a response. It is made in a thread, so that no delivery waits for a long one."""
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(self._thread, self._render, template, values)
        return Response(text, status, HEADERS, media_type="text/html")

    def _render(self, template: str, values: Mapping[str, Any]) -> bytes:
        return self._environment.get_template(template).render(values).encode("utf-8", "backslashreplace")
