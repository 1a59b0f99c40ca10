"""One turn of the dispatcher, in one transaction: results, releases, starts and claims."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from receiver.store import waiting_runs
from receiver.store.claims import Claim, Claimed, ClaimRequest, RunKey, claim, release, release_unknown
from receiver.store.runs import RunResult


@dataclass(frozen=True, slots=True)
class Turn:
    """What to write.

    Attributes:
        results: how attempts ended.
        releases: claims of `owner` to release: their runs have not started.
        request: what to claim and to start; None for nothing.
        known: all that `owner` knows to hold, after a commit of claims that was not answered: what else it holds is
            released. None if there was no such commit.
    """

    owner: str
    results: Sequence[RunResult] = ()
    releases: Sequence[Claim] = ()
    request: ClaimRequest | None = None
    known: Collection[RunKey] | None = None

    def __bool__(self) -> bool:
        return bool(self.results or self.releases or self.request or self.known is not None)

    def parts(self) -> Iterator[Turn]:
        """The same in as many turns as possible, so that a part that cannot be written does not fail the others."""
        for result in self.results:
            yield Turn(self.owner, results=[result])
        if self.releases:
            yield Turn(self.owner, releases=self.releases)
        if self.request is not None or self.known is not None:
            yield Turn(self.owner, request=self.request, known=self.known)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        held: for each result whether its attempt still held the run; if not, it was not written.
        claimed: None without a request.
        released: how many runs the owner held and did not know.
    """

    held: list[bool]
    claimed: Claimed | None
    released: int = 0

    @property
    def started(self) -> list[str]:
        """The handlers of the runs that were started."""
        return [] if self.claimed is None else [run.handler for run in self.claimed.started]


def write(connection: Connection, turn: Turn) -> Written:
    """Write a turn."""
    held = waiting_runs.finish(connection, turn.results) if turn.results else []
    if turn.releases:
        release(connection, turn.releases, turn.owner)
    released = 0 if turn.known is None else release_unknown(connection, turn.known, turn.owner)
    return Written(held, None if turn.request is None else claim(connection, turn.request), released)
