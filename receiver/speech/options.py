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
    """The lines of earlier runs that are retried.

    Attributes:
        failed: whether lines that failed are retried.
        unknown: whether lines are retried whose submit may have been accepted and charged for.
    """

    failed: bool = False
    unknown: bool = False

    def include(self, state: str) -> bool:
        """Whether a line that ended in this state is retried."""
        return self.unknown if state == JobState.UNKNOWN else self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """The options of a batch.

    Attributes:
        input: the file with the lines, or a stream, which is copied.
        folder: for the audio files; created if it does not exist.
        report: the file with the results; created, or used to resume the batch.
        concurrency: jobs that may be open at a time.
        overwrite: what to do if an audio file exists.
        skip_invalid: whether to skip invalid lines; otherwise they stop the batch before it begins.
        timeout: seconds for the whole batch; None for no limit.
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
