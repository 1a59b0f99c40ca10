"""Whether the processes that work on one store have the same audio storage.

The store names a file that one of them fetched, and any of them may need it. An object store is reached by all. No
machine can tell whether its folder is also that of another. So each process leaves a mark in its own: one that does not
find the marks of the others has another folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

import structlog

from receiver.clock import Clock
from receiver.engine.batch_writer import BatchWriter
from receiver.errors import ListingTimeout, StoreUnavailable
from receiver.os_errors import cause_and_advice
from receiver.outbound.beneath import make_folders
from receiver.outbound.storage_types import Storage
from receiver.store import replicas
from receiver.store.database import Database
from receiver.store.replicas import Replica

log = structlog.get_logger("receiver.audio")

OLD_SECONDS = 86_400.0
"""How old the mark of a process is removed that the store does not know."""
_SUFFIX = ".process"


def find_apart(storage: Storage, spool: Path, others: Iterable[Replica]) -> list[Replica]:
    """Those of other processes that store audio where this process does not find it. Blocks.

    Args:
        spool: the folder of unfinished files; it is in the audio folder, if that is local.

    Raises:
        OSError: the folder cannot be read.
    """
    if storage.folder is not None:
        return [other for other in others if not (spool / f"{other.owner}{_SUFFIX}").exists()]
    return list(others) if storage.url.startswith("memory:") else []


def apart_message(storage: Storage, other: Replica) -> str:
    """What is wrong, and what to do, in a sentence."""
    place = storage.url if storage.folder is None else str(storage.folder)
    return (
        f"{place} is not where the process {other.owner} on {other.host} stores audio, and both work on the same "
        "store. Use an object store such as s3://bucket/prefix, or a folder that both mount"
    )


class SharedAudio:
    """The mark of this process, and the check for those of the others.

    Only for a store that several machines can use: the processes of one machine have one configuration.

    Args:
        owner: this process's name in leases.
    """

    def __init__(self, database: Database, storage: Storage, spool: Path, owner: str, clock: Clock) -> None:
        self._database = database
        self._storage = storage
        self._spool = spool
        self._owner = owner
        self._clock = clock
        self._mark = spool / f"{owner}{_SUFFIX}"
        self._marks = database.folder is None and storage.folder is not None

    async def announce(self) -> None:
        """Leave the mark. Call before other processes can see this one."""
        if self._marks:
            try:
                await asyncio.to_thread(self._leave_mark)
            except OSError as error:
                log.warning("audio.not_marked", folder=str(self._spool), detail=cause_and_advice(error))

    async def check(self) -> None:
        """Log each other process that works and stores audio elsewhere. Call once this process is visible."""
        if self._database.folder is not None:
            return
        try:
            found = await self._working()
            others = [other for other in found if other.owner != self._owner]
            apart = await asyncio.to_thread(find_apart, self._storage, self._spool, others)
            if apart:  # one that ended meanwhile has removed its row, and then its mark
                still = await self._working()
                apart = [other for other in apart if other in still]
            await asyncio.to_thread(self._remove_old_marks, {other.owner for other in found})
        except (StoreUnavailable, ListingTimeout, OSError) as error:
            log.warning("audio.sharing_not_checked", detail=str(error))
            return
        for other in apart:
            log.error("audio.not_shared", owner=other.owner, host=other.host, hint=apart_message(self._storage, other))

    async def _working(self) -> list[Replica]:
        return await BatchWriter(self._database, self._clock).read(replicas.working, self._clock.now())

    async def withdraw(self) -> None:
        """Remove the mark. Call when other processes no longer see this one, and not if they may."""
        if self._marks:
            with suppress(OSError):  # it is read only for a process that is in the store
                await asyncio.to_thread(self._mark.unlink, missing_ok=True)

    def _leave_mark(self) -> None:
        make_folders(self._spool)
        self._mark.touch(mode=0o640)

    def _remove_old_marks(self, owners: Collection[str]) -> None:
        """Remove the marks of processes that were killed."""
        for mark in self._spool.glob(f"*{_SUFFIX}") if self._marks else ():
            with suppress(FileNotFoundError):  # another process removes it
                if mark.stem not in owners and self._clock.now() - mark.stat().st_mtime > OLD_SECONDS:
                    mark.unlink()
