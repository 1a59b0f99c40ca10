"""Blocking file operations in worker threads, which finish before a cancellation is passed on.

`asyncio.to_thread` leaves its thread running when the waiting task is cancelled; the file would then be closed, and its
lock released, during a write.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from functools import partial
from io import FileIO
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a short blocking function in a worker thread; a cancellation is passed on only after it has returned."""
    call = partial(copy_context().run, partial(work, *args, **kwargs))
    done: asyncio.Future[T] = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        while not done.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([done])
        if not done.cancelled():
            done.exception()  # retrieved, so that asyncio does not report it as never retrieved
        raise


@asynccontextmanager
async def opened(path: Path, opener: Callable[[str, int], int] = os.open) -> AsyncIterator[FileIO]:
    """A file opened for reading, unbuffered, in a worker thread; also closed if the opening itself is cancelled.

    Args:
        opener: as for `open`.

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
