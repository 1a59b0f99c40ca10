"""Show the progress of `speech` on standard error: a bar on a terminal, else a line for each change.

Standard output has only the result. Control characters in text from outside are escaped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from receiver.cli.text_output import echo_error
from receiver.model.printable import printable
from receiver.speech.progress import BatchStats
from receiver.speech.report import LineResult


def one_line(text: str) -> str:
    """The text with each sequence of white space as one space."""
    return " ".join(text.split())


def format_size(count: int) -> str:
    """A number of bytes as text, such as `1.5 MB`."""
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{count / 1000:.0f} kB"


class _TerminalDisplay:
    """A progress display that appears only on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._live = progress.console.is_terminal and sys.stderr.isatty()
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._progress.stop()

    def stalled(self, reason: str) -> None:
        """Print a line that stays, with what a user can do."""
        self.note(f"{reason} Ctrl-C stops waiting.")

    def note(self, text: str) -> None:
        """Print a line that stays."""
        text = one_line(text)
        if self._live:
            self._progress.console.print(escape(printable(text)), soft_wrap=True)
        else:
            echo_error(text)


class TaskProgress(_TerminalDisplay):
    """Shows the progress of one task."""

    def __init__(self) -> None:
        super().__init__(
            Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TimeElapsedColumn(),
                console=Console(stderr=True, highlight=False),
                transient=True,
            )
        )
        self._last = ""

    def state(self, name: str, *, percent: int | None = None, fetched_bytes: int = 0) -> None:
        """See `Progress.state`."""
        text = printable(name if percent is None else f"{name} {percent} %")
        if self._live:
            shown = f"{text} {format_size(fetched_bytes)}" if fetched_bytes else text
            if self._task is None:
                self._task = self._progress.add_task(shown, total=None)
            self._progress.update(self._task, description=shown)
            if percent is not None:
                self._progress.update(self._task, total=100, completed=percent)
            elif name != self._last.partition(" ")[0]:
                self._progress.update(self._task, total=None)
        elif text != self._last:
            self.note(text)
        self._last = text


class BatchLines(_TerminalDisplay):
    """Shows the progress of a batch.

    Args:
        total: lines in all.
        folder: of the audio files.
    """

    def __init__(self, total: int, folder: Path) -> None:
        super().__init__(
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[failed]} failed"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=Console(stderr=True, highlight=False),
                transient=True,
            )
        )
        self._total = total
        self._folder = folder

    def begin(self, done: int) -> None:
        """Show the bar, at the number of lines that earlier runs have finished."""
        if self._live:
            self._task = self._progress.add_task("lines", total=self._total, completed=done, failed=0)

    def line_finished(self, result: LineResult, stats: BatchStats) -> None:
        """See `BatchProgress.line_finished`. With a bar only errors are printed."""
        if not result.saved:
            self.note(f"line {result.line}: {result.error}")
        elif not self._live:
            self.note(f"line {result.line}: saved {self._folder / result.files[0]['path']}")
        self._advance(stats.failed)

    def line_skipped(self, number: int, stats: BatchStats) -> None:
        """See `BatchProgress.line_skipped`."""
        if not self._live:
            self.note(f"line {number}: failed before, and is not retried")
        self._advance(stats.failed)

    def _advance(self, failed: int) -> None:
        if self._task is not None:
            self._progress.update(self._task, advance=1, failed=failed)
