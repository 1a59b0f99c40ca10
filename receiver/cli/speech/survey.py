"""What is found out about a batch before anything is submitted: lines that cannot be used, or are other ones now."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from receiver.cli.speech.desk import SpeechError
from receiver.cli.speech.lines import BadLine, Line
from receiver.cli.speech.report import BEGUN, Record
from receiver.durable_files import OverwritePolicy
from receiver.store.states import JobState

MOST_NAMED = 100
"""Lines that are named where something is wrong with them; the rest is counted."""
AUDIO_EXTENSIONS = frozenset({".wav", ".mp3", ".ogg", ".flac", ".m4a", ".aac", ".webm", ".aiff"})


@dataclass(slots=True)
class Survey:
    """What is found out about a batch before anything is submitted.

    Attributes:
        total: lines that can be spoken.
        before: those among them that are done.
        bad: the first of the lines that cannot be used; `refused` has the numbers of all.
        changed: numbers of lines that are other ones than those that were done.
        gone: numbers that the report has and the input no longer.
    """

    total: int = 0
    before: int = 0
    bad: list[BadLine] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    changed: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)

    def refuse(self, line: BadLine) -> None:
        """Count a line that cannot be used."""
        self.refused.add(line.number)
        if len(self.bad) < MOST_NAMED:
            self.bad.append(line)


class _Names:
    """Whether two lines would be one file, also where letter case does not matter."""

    def __init__(self, folder: Path, if_there: OverwritePolicy, *, fresh: bool) -> None:
        self._folder = folder
        self._whole: set[str] = set()
        self._stems: set[str] = set()
        self._whole_stems: set[str] = set()
        self._there: set[str] = set()
        self._careful = fresh and if_there is OverwritePolicy.REFUSE
        try:
            if self._careful and folder.is_dir():
                self._there = {path.stem for path in folder.iterdir() if path.suffix.lower() in AUDIO_EXTENSIONS}
        except OSError as error:
            raise SpeechError(f"The folder {folder} cannot be listed: {error.strerror}; name another.") from None

    def take(self, line: Line) -> str | None:
        """Why the line cannot have its name; None if it can."""
        if self._careful and self._is_there(line):
            return f"{self._folder / line.name} is there already; name another --output-dir, or replace with --force"
        name = unicodedata.normalize("NFC", line.name).casefold()
        stem = str(PurePath(name).with_suffix("")) if line.whole else name
        if stem in self._stems or (name in self._whole if line.whole else stem in self._whole_stems):
            return f"another line is saved as {line.name}, too; give each an id or output of its own"
        if line.whole:
            self._whole.add(name)
            self._whole_stems.add(stem)
        else:
            self._stems.add(stem)
        return None

    def _is_there(self, line: Line) -> bool:
        return os.path.lexists(self._folder / line.name) if line.whole else line.name in self._there


def survey(
    lines: Iterator[Line | BadLine], last: Mapping[int, Record] | None, folder: Path, if_there: OverwritePolicy
) -> Survey:
    """Read all lines once, before anything is submitted.

    Args:
        last: what is known of each line that has ended; None for a new batch.

    Raises:
        SpeechError: the input as a whole cannot be used.
    """
    found, names, seen = Survey(), _Names(folder, if_there, fresh=last is None), set()
    last = last or {}
    for line in lines:
        seen.add(line.number)
        if isinstance(line, BadLine):
            found.refuse(line)
            continue
        record = last.get(line.number)
        if record is not None and record.speech != line.digest and record.state in (BEGUN, JobState.COMPLETED):
            found.changed.append(line.number)
        elif (why := names.take(line)) is not None:
            found.refuse(BadLine(line.number, why))
        else:
            found.total += 1
            found.before += record is not None and is_done(record, folder)
    found.gone = sorted(set(last) - seen)
    return found


def is_done(record: Record, folder: Path) -> bool:
    """Whether the line's files are where they were put."""
    return record.saved and all((folder / file["path"]).is_file() for file in record.files)
