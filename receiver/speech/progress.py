"""Progress of a task and of a batch: the counts, and the callbacks, which the caller implements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from receiver.model.charge import NO_CHARGE, Charge
from receiver.speech.report import LineResult


@dataclass(slots=True)
class BatchStats:
    """How many lines of a batch are in which state.

    Attributes:
        total: lines that can be used.
        done: lines whose files are saved, also by earlier runs.
        failed: lines that failed, also in earlier runs if they are not retried.
        unknown: those of the failed lines that may have been charged for.
        halted: why no further lines were started; None if nothing stopped the batch.
        over_budget: whether that is the source's daily budget.
        charge: what the provider charged for the lines that finished in this run, as far as it said.
    """

    total: int
    done: int = 0
    failed: int = 0
    unknown: int = 0
    halted: str | None = None
    over_budget: bool = False
    charge: Charge = NO_CHARGE

    @property
    def remaining(self) -> int:
        """Lines that have not finished."""
        return self.total - self.done - self.failed


class Notices(Protocol):
    """Receives sentences for the user. They contain no secrets, but may contain text from outside."""

    def note(self, text: str) -> None:
        """Show a notice."""

    def stalled(self, reason: str) -> None:
        """Show why a job does not proceed. The wait for it continues."""


class Progress(Notices, Protocol):
    """Receives the progress of one task."""

    def state(self, name: str, *, percent: int | None = None, fetched_bytes: int = 0) -> None:
        """Show the task's state. Called several times a second, also with the same state."""


class BatchProgress(Notices, Protocol):
    """Receives the progress of a batch."""

    def line_finished(self, result: LineResult, stats: BatchStats) -> None:
        """A line has been saved or has failed in this run."""

    def line_skipped(self, number: int, stats: BatchStats) -> None:
        """A line failed in an earlier run and is not retried."""
