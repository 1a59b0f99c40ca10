"""Check all lines of a batch before anything is submitted: which are invalid, changed, removed or done."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from receiver.durable_files import OverwritePolicy
from receiver.speech.errors import SpeechError
from receiver.speech.lines import BatchLine, InvalidLine
from receiver.speech.report import SUBMITTING, LineResult
from receiver.store.states import JobState

MAX_LISTED = 100
"""Invalid lines that are listed with their reasons; further ones are only counted."""
AUDIO_EXTENSIONS = frozenset({".wav", ".mp3", ".ogg", ".flac", ".m4a", ".aac", ".webm", ".aiff"})


@dataclass(slots=True)
class Preflight:
    """The state of a batch before anything is submitted.

    Attributes:
        total: the number of valid lines.
        done_numbers: numbers of the valid lines that an earlier run has finished.
        invalid: the first invalid lines; `invalid_numbers` has the numbers of all.
        changed: numbers of lines whose request was changed after it was submitted.
        removed: numbers of lines in the report that are no longer in the input.
    """

    total: int = 0
    done_numbers: set[int] = field(default_factory=set)
    invalid: list[InvalidLine] = field(default_factory=list)
    invalid_numbers: set[int] = field(default_factory=set)
    changed: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)

    @property
    def done(self) -> int:
        """The number of lines that an earlier run has finished."""
        return len(self.done_numbers)

    def is_open(self, number: int) -> bool:
        """Whether the line of this number is valid and has not finished."""
        return number not in self.done_numbers and number not in self.invalid_numbers

    def add_invalid(self, line: InvalidLine) -> None:
        """Count an invalid line."""
        self.invalid_numbers.add(line.number)
        if len(self.invalid) < MAX_LISTED:
            self.invalid.append(line)


class _OutputNames:
    """Finds lines whose files would have the same name, also on a case-insensitive file system."""

    def __init__(self, folder: Path, policy: OverwritePolicy, *, fresh: bool) -> None:
        self._folder = folder
        self._full: set[str] = set()
        self._stems: set[str] = set()
        self._full_stems: set[str] = set()
        self._existing: set[str] = set()
        self._check_existing = fresh and policy is OverwritePolicy.REFUSE
        try:
            if self._check_existing and folder.is_dir():
                self._existing = {path.stem for path in folder.iterdir() if path.suffix.lower() in AUDIO_EXTENSIONS}
        except OSError as error:
            raise SpeechError(f"The folder {folder} cannot be listed: {error.strerror}; name another.") from None

    def claim(self, line: BatchLine) -> str | None:
        """Reserve the line's file name; the reason if that is not possible, else None."""
        if self._check_existing and self._exists(line):
            return f"{self._folder / line.name} already exists; name another --output-dir, or replace with --force"
        name = unicodedata.normalize("NFC", line.name).casefold()
        stem = str(PurePath(name).with_suffix("")) if line.has_extension else name
        if stem in self._stems or (name in self._full if line.has_extension else stem in self._full_stems):
            return f"another line is saved as {line.name}, too; give each an id or output of its own"
        if line.has_extension:
            self._full.add(name)
            self._full_stems.add(stem)
        else:
            self._stems.add(stem)
        return None

    def _exists(self, line: BatchLine) -> bool:
        return os.path.lexists(self._folder / line.name) if line.has_extension else line.name in self._existing


def run_preflight(
    lines: Iterator[BatchLine | InvalidLine],
    last: Mapping[int, LineResult] | None,
    folder: Path,
    policy: OverwritePolicy,
) -> Preflight:
    """Read and check all lines.

    Args:
        last: the last result of each line in the report; None for a new batch.

    Raises:
        SpeechError: the whole input cannot be used.
    """
    found, names, seen = Preflight(), _OutputNames(folder, policy, fresh=last is None), set()
    last = last or {}
    for line in lines:
        seen.add(line.number)
        if isinstance(line, InvalidLine):
            found.add_invalid(line)
            continue
        result = last.get(line.number)
        if result is not None and result.speech != line.digest and result.state in (SUBMITTING, JobState.COMPLETED):
            found.changed.append(line.number)
        elif (why := names.claim(line)) is not None:
            found.add_invalid(InvalidLine(line.number, why))
        else:
            found.total += 1
            if result is not None and _is_done(result, folder):
                found.done_numbers.add(line.number)
    found.removed = sorted(set(last) - seen)
    return found


def _is_done(result: LineResult, folder: Path) -> bool:
    """Whether the line's files were saved, and still exist."""
    return result.saved and all((folder / file["path"]).is_file() for file in result.files)
