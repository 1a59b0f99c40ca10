"""Blocking file work off the event loop, in a way that a cancellation cannot tear from its file.

`asyncio.to_thread` leaves its thread running when the waiting task is cancelled; the file would then be closed, and
its lock given up, under a write that is still going on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run short blocking work in a worker thread; a cancellation is passed on only when the work has ended."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as forgotten; the cancellation wins
        raise cancelled
    return task.result()


@asynccontextmanager
async def opened(path: Path, opener: Callable[[str, int], int] = os.open) -> AsyncIterator[FileIO]:
    """A file opened for reading, unbuffered, in a worker thread; closed also where the opening itself is cancelled.

    Args:
        opener: opens it, as the argument of `open` does.

    Raises:
        OSError: it cannot be opened.
    """
    files: list[FileIO] = []
    try:
        await in_thread(lambda: files.append(open(path, "rb", buffering=0, opener=opener)))  # noqa: SIM115
        yield files[0]
    finally:
        for file in files:
            file.close()
