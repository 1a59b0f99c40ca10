"""Progress callbacks of a task and of a batch: the caller implements them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from receiver.speech.batch_runner import BatchStats
    from receiver.speech.report import LineResult


class Notices(Protocol):
    """Takes sentences for the user, free of secrets. They may have text from outside in them."""

    def note(self, text: str) -> None:
        """Something that the user should know now, such as why a job does not proceed."""


class Progress(Notices, Protocol):
    """Takes the progress of one task."""

    def state(self, name: str, *, percent: int | None = None, fetched_bytes: int = 0) -> None:
        """The task's present state; called again whenever a figure changes, and several times a second."""


class BatchProgress(Notices, Protocol):
    """Takes the progress of a batch."""

    def line_finished(self, result: LineResult, stats: BatchStats) -> None:
        """A line has finished in this run, well or badly."""

    def line_skipped(self, number: int, stats: BatchStats) -> None:
        """A line failed in an earlier run, and the options do not ask to retry it."""
