"""Clients that go away before they are answered: nothing is read for them any longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Receive

T = TypeVar("T")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


async def gone(receive: Receive) -> None:
    """Wait until the client has gone. What it sends until then is passed over."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_waited_for(receive: Receive, work: Awaitable[T]) -> T:
    """What the work returns or raises, unless its client goes first: then it is cancelled.

    Raises:
        ClientGone: the client has gone.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.create_task(gone(receive))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
