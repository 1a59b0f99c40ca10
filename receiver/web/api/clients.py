"""Clients that disconnect before the response: the work for them is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

T = TypeVar("T")


class ClientDisconnected(Exception):
    """The client disconnected before the response."""


async def wait_for_disconnect(receive: Receive) -> None:
    """Wait until the client disconnects. What it sends until then is ignored."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def cancel_on_disconnect(receive: Receive, work: Awaitable[T]) -> T:
    """What the work returns or raises; it is cancelled if the client disconnects first.

    Raises:
        ClientDisconnected: the client disconnected first.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.create_task(wait_for_disconnect(receive))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnected
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
