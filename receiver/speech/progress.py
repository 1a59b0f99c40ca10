"""Progress callbacks of a task and of a batch, implemented by the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from receiver.speech.batch_runner import BatchStats
    from receiver.speech.report import LineResult


class Notices(Protocol):
    """Receives sentences for the user. They contain no secrets, but may contain text from outside."""

    def note(self, text: str) -> None:
        """Show a notice, such as why a job does not proceed."""


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
