"""A batch: so many jobs at one time, each line's end written down, and the same command goes on where it was ended.

A line's job has an idempotency key made of the batch's id, the line's number and the number of the try. So whatever
moment the process is ended at, the next one finds the job that was begun, and begins no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receiver.cli.speech.desk import Speaker, SpeechError
from receiver.cli.speech.ends import CANNOT_PAY, trouble, why_not
from receiver.cli.speech.files import is_copy, numbered, save
from receiver.cli.speech.lines import BadLine, Line
from receiver.cli.speech.report import BEGUN, Record, Report
from receiver.cli.speech.shown import BatchShown
from receiver.cli.speech.survey import is_done
from receiver.durable_files import OverwritePolicy, remove_abandoned
from receiver.engine.context import Artifact
from receiver.errors import AudioError, NotFound, ReceiverError, StoreUnavailable
from receiver.model.event import JobFailed
from receiver.providers.types import Invalid
from receiver.store.jobs import ClientKeyReused, Row
from receiver.store.states import OPEN_JOBS, JobState

NOTE_SECONDS = 60.0
"""How often the same trouble is told."""
PAUSE_EVERY_SECONDS = 2.0
_CHANGED = "it has changed since it was begun; put it back, or give it to another batch."


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Which lines that ended badly are tried again: those that failed, and those nobody knows of."""

    failed: bool = False
    unknown: bool = False

    def wanted(self, state: str) -> bool:
        """Whether a line that ended in this state is."""
        return self.unknown if state == JobState.UNKNOWN else self.failed


@dataclass(slots=True)
class Tally:
    """How a batch stands. `failed` counts those of earlier runs, too; `halted` says why no more was begun."""

    total: int
    done: int = 0
    failed: int = 0
    unknown: int = 0
    halted: str | None = None

    @property
    def left(self) -> int:
        """Lines that have not ended."""
        return self.total - self.done - self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is to be done. `skip` has the numbers of the lines that are left out."""

    lines: Iterator[Line | BadLine]
    folder: Path
    concurrency: int
    again: Again
    if_there: OverwritePolicy
    skip: set[int]
    wait: float | None


async def speak_batch(speaker: Speaker, batch: Batch, report: Report, tally: Tally, shown: BatchShown) -> None:
    """Do it, and count in `tally`.

    Raises:
        SpeechError: it took too long, or the report cannot be written.
        StoreUnavailable: the store cannot be used.
    """
    course = _Course(speaker, batch, report, tally, shown)
    try:
        async with asyncio.timeout(batch.wait):
            async with asyncio.TaskGroup() as group:
                for _ in range(batch.concurrency):
                    group.create_task(course.work())
    except TimeoutError:
        raise SpeechError(f"Not done within {batch.wait:g} s. {_how_to_go_on(tally)}") from None
    except asyncio.CancelledError:
        shown.say(f"Stopped. {_how_to_go_on(tally)}")
        raise
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    first: Any = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first  # type: ignore[no-any-return]


def _how_to_go_on(tally: Tally) -> str:
    return (
        f"{tally.done} of {tally.total} lines are done, {tally.failed} have failed. The same command goes on; what "
        "was submitted is not submitted again."
    )


class _Course:
    """The lines' way, one worker for each job that may be open."""

    def __init__(self, speaker: Speaker, batch: Batch, report: Report, tally: Tally, shown: BatchShown) -> None:
        self._speaker = speaker
        self._batch = batch
        self._report = report
        self._tally = tally
        self._shown = shown
        self._noted: dict[str, float] = {}
        self._pause_at = 0.0

    async def work(self) -> None:
        """Take one line after the other, until there is none, or no more can be begun."""
        for line in self._batch.lines:
            if isinstance(line, BadLine) or line.number in self._batch.skip:
                continue
            known = self._report.last.get(line.number)
            if known is not None and is_done(known, self._batch.folder):
                continue  # counted by the survey
            await self._line(line, known)
            if self._tally.halted is not None:
                return

    async def _line(self, line: Line, known: Record | None) -> None:
        try:
            begun = await self._begun(line, known)
            if isinstance(begun, str):
                self._tally.failed += 1
                self._tally.unknown += begun == JobState.UNKNOWN
                self._shown.line(
                    f"line {line.number}: failed before, and is not tried again",
                    failed=self._tally.failed,
                    went_wrong=False,
                )
                return
            job, generation = begun
            async for row in self._speaker.follow(job["id"]):
                await self._note(row)
            record = await self._ended(line, row, generation)
            self._report.append(record)
        except StoreUnavailable:
            raise
        except (NotFound, Invalid, _LineChanged) as error:
            record = Record(line=line.number, speech=line.digest, state="failed", error=str(error))
        self._count(record)

    async def _begun(self, line: Line, known: Record | None) -> tuple[Row, int] | str:
        """The line's job and the number of its try; only the job's state if it ended badly and is left so."""
        generation = 1
        if known is not None:
            generation = known.generation
            if known.state != BEGUN:
                row = await self._speaker.job(known.job) if known.job is not None else None
                if known.state == JobState.COMPLETED and row is None:
                    raise NotFound(
                        f"its file is not in {self._batch.folder} any more, and its job {known.job} not in the store: "
                        "put the file back, or give the line to another batch"
                    )
                if row is not None and row["state"] in (*OPEN_JOBS, JobState.COMPLETED):
                    if known.speech != line.digest:
                        raise _LineChanged(_CHANGED + f" Its job is {row['id']}.")
                    return row, generation
                # By now a person may have said what became of a job that was unknown.
                state = known.state if row is None else str(row["state"])
                if not self._batch.again.wanted(state):
                    return state
                generation += 1
                begun = Record(
                    line=line.number, id=line.id, speech=line.digest, state=BEGUN, generation=generation
                )  # fmt: skip
                self._report.append(begun)
        key = f"speech:{self._report.batch}:{line.number}:{generation}"
        try:
            return await self._speaker.submit(line.speech, key), generation
        except ClientKeyReused as error:
            raise _LineChanged(f"{_CHANGED} {error}") from None

    async def _ended(self, line: Line, row: Row, generation: int) -> Record:
        files: tuple[dict[str, Any], ...] = ()
        event = await self._speaker.event(row)
        error, code = None, row["error_code"]
        if row["state"] == JobState.COMPLETED:
            try:
                artifacts = await self._speaker.files(
                    row, lambda text: self._say("fetch", f"line {line.number}: {text}")
                )
                files = await self._saved(line, artifacts)
            except (AudioError, NotFound, SpeechError) as problem:
                error, code = f"The audio is not saved: {problem}", problem.reason
        else:
            error = why_not(row, event)
            if isinstance(event, JobFailed):
                code = event.code or None
            if row["job_id"] is None and row["error_code"] in CANNOT_PAY:
                self._tally.halted = self._speaker.redact(error)
        return Record(
            line=line.number,
            id=line.id,
            speech=line.digest,
            state=str(row["state"]),
            generation=generation,
            job=row["id"],
            job_id=row["job_id"],
            files=files,
            error=None if error is None else self._speaker.redact(error),
            code=code,
        )

    async def _saved(self, line: Line, artifacts: tuple[Artifact, ...]) -> tuple[dict[str, Any], ...]:
        name = line.name if line.whole else f"{line.name}.{artifacts[0].format}"
        first = self._batch.folder / name
        try:
            first.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SpeechError(f"The folder {first.parent} cannot be made: {error.strerror or error}.") from None
        told = []
        for artifact in artifacts:
            path = numbered(first, artifact.n)
            if await asyncio.to_thread(is_copy, artifact, path):
                await asyncio.to_thread(remove_abandoned, path)
            else:
                await save(artifact, path, self._batch.if_there)
            where = path.relative_to(self._batch.folder).as_posix()
            told.append({"path": where, "sha256": artifact.sha256, "bytes": artifact.bytes})
        return tuple(told)

    def _count(self, record: Record) -> None:
        if record.saved:
            self._tally.done += 1
            text = f"line {record.line}: saved {self._batch.folder / record.files[0]['path']}"
        else:
            self._tally.failed += 1
            self._tally.unknown += record.state == JobState.UNKNOWN
            text = f"line {record.line}: {record.error}"
        self._shown.line(text, failed=self._tally.failed, went_wrong=not record.saved)

    async def _note(self, row: Row) -> None:
        """Say why it does not go on, once for all lines that wait for the same."""
        pause = None
        if time.monotonic() >= self._pause_at:
            self._pause_at = time.monotonic() + PAUSE_EVERY_SECONDS
            pause = await self._speaker.pause()
        said = trouble(row, pause)
        if said is not None:
            self._say(row["error_code"] or "pause", said)

    def _say(self, about: str, text: str) -> None:
        if time.monotonic() - self._noted.get(about, float("-inf")) >= NOTE_SECONDS:
            self._noted[about] = time.monotonic()
            self._shown.say(self._speaker.redact(text))


class _LineChanged(ReceiverError):
    """A line is not the one that its job was begun with."""
