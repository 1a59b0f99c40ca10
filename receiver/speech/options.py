"""The options of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from receiver.durable_files import OverwritePolicy
from receiver.speech.input_format import InputFormat
from receiver.speech.lines import SpeechDefaults
from receiver.store.states import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOptions:
    """Which lines of earlier runs are retried.

    Attributes:
        failed: those that failed.
        unknown: those whose submit may have been accepted, and charged for.
    """

    failed: bool = False
    unknown: bool = False

    def include(self, state: str) -> bool:
        """Whether a line that ended in this state is retried."""
        return self.unknown if state == JobState.UNKNOWN else self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """What to do, and how.

    Attributes:
        input: the file with the lines, or a stream, which is copied.
        folder: for the audio files; it is created.
        report: the file with the results; it is created, or the batch is resumed from it.
        concurrency: jobs that may be open at a time.
        overwrite: what to do about audio files that exist.
        skip_invalid: whether to leave out lines that cannot be used; else they stop the batch before it begins.
        timeout: seconds for all of it; None for no limit.
    """

    input: Path | BinaryIO
    input_format: InputFormat
    folder: Path
    report: Path
    defaults: SpeechDefaults
    concurrency: int
    retry: RetryOptions
    overwrite: OverwritePolicy
    skip_invalid: bool
    timeout: float | None
