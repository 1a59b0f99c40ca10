"""Run a batch: several jobs at a time. Each line's result is recorded, so that an interrupted batch can be resumed.

The idempotency key of a line's job is derived from the batch's id, the line's number and the number of the attempt. So
if the process is killed, the next one finds the job that was created, and creates no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from receiver.durable_files import remove_abandoned
from receiver.engine.audit import ChangeRecorder
from receiver.engine.context import Artifact
from receiver.errors import AudioError, NotFound, ReceiverError, StoreUnavailable
from receiver.model.budget import BudgetExceeded
from receiver.model.charge import charge_of
from receiver.model.event import JobFailed
from receiver.providers.types import Invalid
from receiver.speech.client import SpeechClient
from receiver.speech.errors import SpeechError
from receiver.speech.files import is_copy, numbered_path, save_artifact
from receiver.speech.lines import BatchLine
from receiver.speech.messages import ACCOUNT_ERRORS, failure_reason
from receiver.speech.options import BatchOptions
from receiver.speech.progress import BatchProgress, BatchStats
from receiver.speech.report import SUBMITTING, BatchReport, LineResult
from receiver.store.jobs import ClientKeyReused, Row
from receiver.store.states import OPEN_JOBS, JobState

NOTE_INTERVAL_SECONDS = 60.0
"""How often the same notice is repeated."""
_CHANGED = "it has changed since it was submitted; restore it, or move it to another batch."


class BatchRunner:
    """Runs the open lines of a batch, with one worker for each job that may be open.

    Attributes:
        stats: the current counts.
    """

    def __init__(
        self,
        client: SpeechClient,
        lines: Iterator[BatchLine],
        options: BatchOptions,
        report: BatchReport,
        stats: BatchStats,
        progress: BatchProgress,
        recorder: ChangeRecorder,
    ) -> None:
        self.stats = stats
        self._client = client
        self._lines = lines
        self._options = options
        self._report = report
        self._progress = progress
        self._recorder = recorder
        self._noted: dict[str, float] = {}

    async def run(self) -> None:
        """Run all lines to their end, or until no more can be started (`stats.halted`).

        Raises:
            SpeechError: the timeout has passed, or the report cannot be written.
            StoreUnavailable: the store cannot be used.
        """
        try:
            async with asyncio.timeout(self._options.timeout):
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._options.concurrency):
                        group.create_task(self._run_lines())
        except TimeoutError:
            raise SpeechError(f"Not done within {self._options.timeout:g} s. {self._resume_hint()}") from None
        except asyncio.CancelledError:
            self._progress.note(f"Stopped. {self._resume_hint()}")
            raise
        except BaseExceptionGroup as errors:
            raise _first_error(errors) from errors

    def _resume_hint(self) -> str:
        stats = self.stats
        return (
            f"{stats.done} of {stats.total} lines are done, {stats.failed} have failed. The same command continues; "
            "lines that were submitted are not submitted again."
        )

    async def _run_lines(self) -> None:
        for line in self._lines:
            await self._run_line(line, self._report.last.get(line.number))
            if self.stats.halted is not None:
                return

    async def _run_line(self, line: BatchLine, previous: LineResult | None) -> None:
        try:
            created = await self._create_job(line, previous)
            if isinstance(created, str):
                self.stats.failed += 1
                self.stats.unknown += created == JobState.UNKNOWN
                self._progress.line_skipped(line.number, self.stats)
                return
            job, generation = created
            async for row in self._client.follow(job["id"]):
                await self._note_stall(row)
            result = await self._finish(line, row, generation)
            self._report.append(result)
        except StoreUnavailable:
            raise
        except BudgetExceeded as error:
            if error.retry_after is not None:  # the line is not started: the same command does it on another day
                self.stats.halted, self.stats.over_budget = self._client.redact(str(error)), True
                return
            result = LineResult(line=line.number, speech=line.digest, state="failed", error=str(error))
        except (NotFound, Invalid, _LineChanged) as error:
            result = LineResult(line=line.number, speech=line.digest, state="failed", error=str(error))
        self._count(result)

    async def _create_job(self, line: BatchLine, previous: LineResult | None) -> tuple[Row, int] | str:
        """The line's job and the number of the attempt; or the job's state, if it failed and is not retried."""
        generation = 1
        if previous is not None:
            generation = previous.generation
            if previous.state != SUBMITTING:
                row = await self._client.job(previous.job) if previous.job is not None else None
                if previous.state == JobState.COMPLETED and row is None:
                    raise NotFound(
                        f"its file is no longer in {self._options.folder}, and its job {previous.job} is not in the "
                        "store: restore the file, or move the line to another batch"
                    )
                if row is not None and row["state"] in (*OPEN_JOBS, JobState.COMPLETED):
                    if previous.speech != line.digest:
                        raise _LineChanged(_CHANGED + f" Its job is {row['id']}.")
                    return row, generation
                # An operator may have resolved a job that was unknown.
                state = previous.state if row is None else str(row["state"])
                if not self._options.retry.include(state):
                    return state
                generation += 1
                self._report.append(
                    LineResult(
                        line=line.number, id=line.id, speech=line.digest, state=SUBMITTING, generation=generation
                    )
                )
        key = f"speech:{self._report.batch}:{line.number}:{generation}"
        try:
            return await self._client.submit(line.speech, key, self._recorder), generation
        except ClientKeyReused as error:
            raise _LineChanged(f"{_CHANGED} {error}") from None

    async def _finish(self, line: BatchLine, row: Row, generation: int) -> LineResult:
        files: tuple[dict[str, Any], ...] = ()
        error, code = None, row["error_code"]
        if row["state"] == JobState.COMPLETED:
            try:
                artifacts = await self._client.files(
                    row, lambda text: self._note(self._progress.note, "fetch", f"line {line.number}: {text}")
                )
                files = await self._save(line, artifacts)
            except (AudioError, NotFound, SpeechError) as problem:
                error, code = f"The audio is not saved: {problem}", problem.reason
        else:
            event = await self._client.event(row)
            error = failure_reason(row, event)
            if isinstance(event, JobFailed):
                code = event.code or None
            if row["job_id"] is None and row["error_code"] in ACCOUNT_ERRORS:
                self.stats.halted = self._client.redact(error)
        return LineResult(
            line=line.number,
            id=line.id,
            speech=line.digest,
            state=str(row["state"]),
            generation=generation,
            job=row["id"],
            job_id=row["job_id"],
            files=files,
            error=None if error is None else self._client.redact(error),
            code=code,
            charge=charge_of(row),
        )

    async def _save(self, line: BatchLine, artifacts: tuple[Artifact, ...]) -> tuple[dict[str, Any], ...]:
        name = line.name if line.has_extension else f"{line.name}.{artifacts[0].format}"
        first = self._options.folder / name
        try:
            first.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpeechError(f"The folder {first.parent} cannot be created: {error.strerror or error}.") from None
        saved = []
        for artifact in artifacts:
            path = numbered_path(first, artifact.n)
            if await asyncio.to_thread(is_copy, artifact, path):
                await asyncio.to_thread(remove_abandoned, path)
            else:
                await save_artifact(artifact, path, self._options.overwrite)
            where = path.relative_to(self._options.folder).as_posix()
            saved.append({"path": where, "sha256": artifact.sha256, "bytes": artifact.bytes})
        return tuple(saved)

    def _count(self, result: LineResult) -> None:
        self.stats.charge += result.charge
        if result.saved:
            self.stats.done += 1
        else:
            self.stats.failed += 1
            self.stats.unknown += result.state == JobState.UNKNOWN
        self._progress.line_finished(result, self.stats)

    async def _note_stall(self, row: Row) -> None:
        """Note why the job does not proceed, once for all lines with the same reason."""
        reason = await self._client.stall_reason(row)
        if reason is not None:
            self._note(self._progress.stalled, row["error_code"] or "pause", reason)

    def _note(self, show: Callable[[str], None], topic: str, text: str) -> None:
        now = self._client.clock.monotonic()
        if now - self._noted.get(topic, float("-inf")) >= NOTE_INTERVAL_SECONDS:
            self._noted[topic] = now
            show(self._client.redact(text))


class _LineChanged(ReceiverError):
    """A line has changed since its job was created."""


def _first_error(errors: BaseExceptionGroup[Any]) -> BaseException:
    error: Any = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error  # type: ignore[no-any-return]
