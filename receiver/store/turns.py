"""One turn of the dispatcher, in one transaction: results, releases, starts and claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from receiver.store import waiting_runs
from receiver.store.claims import Claim, Claimed, ClaimOrder, claim, release
from receiver.store.runs import RunResult


@dataclass(frozen=True, slots=True)
class Turn:
    """What to write.

    Attributes:
        results: how attempts ended.
        releases: claims of `owner` to release: their runs have not started.
        order: what to claim and to start, if anything.
    """

    owner: str
    results: Sequence[RunResult] = ()
    releases: Sequence[Claim] = ()
    order: ClaimOrder | None = None

    def __bool__(self) -> bool:
        return bool(self.results or self.releases or self.order)

    def parts(self) -> Iterator[Turn]:
        """The same in as many transactions as possible, so that one part that cannot be written breaks no other."""
        for result in self.results:
            yield Turn(self.owner, results=[result])
        if self.releases:
            yield Turn(self.owner, releases=self.releases)
        if self.order is not None:
            yield Turn(self.owner, order=self.order)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        held: for each result whether its attempt still held the run; if not, it was not written.
        claimed: None without an order.
    """

    held: list[bool]
    claimed: Claimed | None


def write(connection: Connection, turn: Turn) -> Written:
    """Write a turn."""
    held = waiting_runs.finish(connection, turn.results) if turn.results else []
    if turn.releases:
        release(connection, turn.releases, turn.owner)
    return Written(held, None if turn.order is None else claim(connection, turn.order))
