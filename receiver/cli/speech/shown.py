"""What `speech` says on standard error while it works: a bar on a terminal, else one line a change.

Standard output has the result alone. Text from outside is shown without control characters.
"""

from __future__ import annotations

import sys
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

from receiver.cli.plain import complain
from receiver.model.printable import printable


def one_line(text: str) -> str:
    """The text with each run of white space as one space."""
    return " ".join(text.split())


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{count / 1000:.0f} kB"


class _Shown:
    """A progress display that is there only on a terminal."""

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

    def say(self, text: str) -> None:
        """A line that stays."""
        text = one_line(text)
        if self._live:
            self._progress.console.print(escape(printable(text)), soft_wrap=True)
        else:
            complain(text)


class OneShown(_Shown):
    """The progress of one speech."""

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

    def state(self, word: str, *, percent: int | None = None, count: int = 0) -> None:
        """Where it stands: a word, with per cent or bytes where they are known."""
        text = printable(word if percent is None else f"{word} {percent} %")
        if self._live:
            shown = f"{text} {size(count)}" if count else text
            if self._task is None:
                self._task = self._progress.add_task(shown, total=None)
            self._progress.update(self._task, description=shown)
            if percent is not None:
                self._progress.update(self._task, total=100, completed=percent)
            elif word != self._last.partition(" ")[0]:
                self._progress.update(self._task, total=None)
        elif text != self._last:
            self.say(text)
        self._last = text


class BatchShown(_Shown):
    """The progress of a batch."""

    def __init__(self, total: int) -> None:
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

    def begin(self, before: int) -> None:
        """So many lines are done from an earlier run."""
        if self._live:
            self._task = self._progress.add_task("lines", total=self._total, completed=before, failed=0)

    def line(self, text: str, *, failed: int, went_wrong: bool) -> None:
        """A line has ended. Where there is a bar, only what went wrong is said beside it."""
        if not self._live or went_wrong:
            self.say(text)
        if self._task is not None:
            self._progress.update(self._task, advance=1, failed=failed)
