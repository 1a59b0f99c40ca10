"""Open a batch: check all of its lines, and keep its input and its report open until it has run."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from receiver.engine.jobs.commands import check_request
from receiver.engine.jobs.source import JobSource
from receiver.providers.types import Speech
from receiver.speech.batch_runner import BatchRunner
from receiver.speech.client import SpeechClient
from receiver.speech.errors import SpeechError
from receiver.speech.lines import BatchLine, InvalidLine, read_lines
from receiver.speech.options import BatchOptions
from receiver.speech.preflight import Preflight, run_preflight
from receiver.speech.progress import BatchProgress, BatchStats
from receiver.speech.report import BatchReport

MAX_COPIED_BYTES = 1 << 30
"""The maximum size of an input that cannot be read twice."""
MAX_NUMBERS = 20
"""Line numbers in one sentence."""


class Batch:
    """An open batch. Created by `open_batch`.

    Attributes:
        preflight: the result of checking its lines.
    """

    def __init__(
        self,
        options: BatchOptions,
        source: JobSource,
        file: BinaryIO,
        report: BatchReport | None,
        stack: ExitStack,
    ) -> None:
        self._options = options
        self._source = source
        self._file = file
        self._report = report
        self._stack = stack
        last = None if report is None else report.last
        self.preflight: Preflight = run_preflight(self._lines(), last, options.folder, options.overwrite)

    def begin(self) -> None:
        """Create the folder and the report, unless the lines cannot be submitted.

        Raises:
            SpeechError: they cannot, or the folder or the report cannot be created.
        """
        options = self._options
        _require_usable(self.preflight, options)
        try:
            options.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpeechError(f"The folder {options.folder} cannot be created: {error.strerror or error}.") from None
        if self._report is None:
            self._report = BatchReport.create(options.report, self._source.name, secrets.token_hex(16))
            self._stack.callback(self._report.close)

    async def run(self, client: SpeechClient, progress: BatchProgress) -> BatchStats:
        """Run the batch to its end, after `begin`.

        Raises:
            SpeechError: the timeout has passed, or the report cannot be written.
            StoreUnavailable: the store cannot be used.
        """
        if self._report is None:
            raise RuntimeError("a batch begins before it runs")
        options, stats = self._options, BatchStats(self.preflight.total, done=self.preflight.done)
        lines = (line for line in self._lines() if isinstance(line, BatchLine) and self.preflight.is_open(line.number))
        async with client.recording(batch=self._report.batch, lines=stats.total) as recorder:
            await BatchRunner(client, lines, options, self._report, stats, progress, recorder).run()
        return stats

    def _lines(self) -> Iterator[BatchLine | InvalidLine]:
        options, source = self._options, self._source

        def check(speech: Speech) -> None:
            check_request(source, speech)

        self._file.seek(0)
        return read_lines(
            self._file, options.input_format, source.name, options.defaults, source.capabilities.formats, check
        )  # fmt: skip


@contextmanager
def open_batch(options: BatchOptions, source: JobSource) -> Iterator[Batch]:
    """Open the input and the report, if there is one, and check all lines. Nothing is created or submitted yet.

    Raises:
        SpeechError: the input or the report cannot be used, or another process runs the batch.
    """
    with ExitStack() as stack:
        file = stack.enter_context(_open_input(options.input))
        report = None
        if os.path.lexists(options.report):
            report = BatchReport.open(options.report, source.name)
            stack.callback(report.close)
        yield Batch(options, source, file, report, stack)


def _require_usable(preflight: Preflight, options: BatchOptions) -> None:
    if preflight.changed:
        raise SpeechError(
            f"{line_numbers(preflight.changed)} different from what was submitted; report: {options.report}. "
            "Restore the input, or run new lines as another batch, with another --output-dir. Nothing was submitted."
        )
    count = len(preflight.invalid_numbers)
    if count and not options.skip_invalid:
        lines = "1 line is" if count == 1 else f"{count} lines are"
        raise SpeechError(
            f"{lines} invalid; nothing was submitted. Correct the input, or skip invalid lines with --skip-invalid."
        )
    if not preflight.total:
        raise SpeechError("The input has no lines.")


def line_numbers(lines: list[int]) -> str:
    """The subject and verb of a sentence about these lines, such as `Lines 2, 3 are`."""
    more = f" and {len(lines) - MAX_NUMBERS} more" if len(lines) > MAX_NUMBERS else ""
    verb, noun = ("is", "Line") if len(lines) == 1 else ("are", "Lines")
    return f"{noun} {', '.join(map(str, lines[:MAX_NUMBERS]))}{more} {verb}"


@contextmanager
def _open_input(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    """The input as a file that can be read twice.

    Raises:
        SpeechError: it cannot be read.
    """
    with ExitStack() as stack:
        if not isinstance(source, Path):
            yield stack.enter_context(_copied(source))
            return
        try:
            file = stack.enter_context(source.open("rb"))
        except OSError as error:
            raise SpeechError(f"{source} cannot be read: {error.strerror or error}.") from None
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        yield file if regular else stack.enter_context(_copied(file))


@contextmanager
def _copied(given: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile(prefix="tts-") as file:
        size = 0
        while piece := given.read(1 << 20):
            size += len(piece)
            if size > MAX_COPIED_BYTES:
                raise SpeechError(f"The input has more than {MAX_COPIED_BYTES} bytes; split it into several files.")
            file.write(piece)
        yield file
