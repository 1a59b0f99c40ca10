"""One task: submit a text or another request, follow its job to the end, fetch its files and save them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from receiver.durable_files import OverwritePolicy
from receiver.engine.context import Artifact
from receiver.engine.jobs.requests import JobRequest
from receiver.errors import AudioError, NoAudio, NotFound, ReceiverError, StoreUnavailable
from receiver.model.file_kind import FileKind
from receiver.outbound.live_audio import StreamFailed
from receiver.providers.types import Speech, StreamedJob
from receiver.speech.client import POLL_INTERVAL_SECONDS, SpeechClient
from receiver.speech.errors import SpeechError
from receiver.speech.files import numbered_path, save_artifact, stream_to
from receiver.speech.messages import failure_reason, resume_hint
from receiver.speech.progress import Progress
from receiver.store.jobs import Row, kind_of
from receiver.store.states import OPEN_JOBS, JobKind, JobState

STREAMED = "-"
"""The path of a file that was written to a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechTask:
    """The request or job, and where its files go.

    Attributes:
        request: None to resume `job`.
        job: our id of an earlier job.
        idempotency_key: the same key with the same speech is the same job.
        output: the file to save, or a stream for the audio; None leaves the audio in the storage.
        output_ended: called when all audio has been written to `output` while it was made; None for a job that is not
            streamed. The task then still waits for the end of the job, and fetches its durable audio into the storage.
        overwrite: what to do if the file exists.
        timeout: seconds for the whole task; None for no limit.
    """

    request: JobRequest | None = None
    job: str | None = None
    idempotency_key: str | None = None
    output: Path | BinaryIO | None = None
    output_ended: Callable[[], None] | None = None
    overwrite: OverwritePolicy = OverwritePolicy.REFUSE
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class SpeechResult:
    """The result of a task.

    Attributes:
        row: the job's row.
        files: the audio files; `paths` has the path of each.
        seconds: the duration of the task.
        error: the reason why there are no files; None if there are, or the job has none.
        result: what the service reports beside its files, such as a transcript, as JSON values.
    """

    row: Row
    files: tuple[Artifact, ...]
    paths: tuple[str, ...]
    seconds: float
    error: str | None = None
    result: Any = None


async def run_task(client: SpeechClient, task: SpeechTask, progress: Progress) -> SpeechResult:
    """Run the task to its end.

    Raises:
        NotFound: there is no job to resume.
        SpeechError: the timeout has passed, or the store cannot be used; the message says how to resume.
        Invalid: the provider does not accept this request; nothing was stored or sent.
        ClientKeyReused: the idempotency key belongs to another request.
    """
    run = _Run(client, task, progress)
    try:
        async with asyncio.timeout(task.timeout):
            return await run.to_end()
    except TimeoutError:
        raise SpeechError(f"Not done within {task.timeout:g} s. {await run.resume_hint()}") from None
    except asyncio.CancelledError:
        progress.note(f"Stopped. {await run.resume_hint()}")
        raise
    except StoreUnavailable as error:
        raise SpeechError(f"{error} {await run.resume_hint()}") from error


class _Run:
    def __init__(self, client: SpeechClient, task: SpeechTask, progress: Progress) -> None:
        self._client = client
        self._task = task
        self._progress = progress
        self._started = client.clock.monotonic()
        self._creating: asyncio.Task[Row] | None = None
        self._row: Row | None = None
        self._noted: str | None = None
        self._stream: StreamedJob | None = None
        self._played = 0
        """Bytes that have been written while the audio was made."""
        self._broken: str | None = None
        self._result_value: Any = None

    async def to_end(self) -> SpeechResult:
        created = self._row = await self._create_job()
        if self._task.output_ended is not None and created["state"] in OPEN_JOBS:
            await self._play(created)
        async for row in self._client.follow(created["id"]):
            self._row = row
            await self._report_state(row)
        if row["state"] != JobState.COMPLETED:
            return self._result((), (), failure_reason(row, await self._client.event(row)))
        event = await self._client.event(row)
        self._result_value = event.payload.get("result") if event is not None else None
        try:
            files = await self._fetch(row)
        except NoAudio as error:
            if kind_of(row) is not JobKind.TASK:
                return self._not_fetched(row, error)
            if self._task.output is not None:
                return self._result((), (), f"The task {row['id']} is completed, without files to save. {_see(row)}")
            files = ()
        except (AudioError, NotFound) as error:
            return self._not_fetched(row, error)
        try:
            paths = await self._save(files)
        except ReceiverError as error:
            return self._result((), (), str(error))
        self._progress.state("saved")
        broken = None
        if self._broken is not None:
            broken = (
                f"{self._broken} {self._played} bytes were written before. The whole audio is stored, at "
                f"{files[0].address}; `tts-receiver speech --job {row['id']} -o FILE` saves it."
            )
        return self._result(files, paths, broken)

    def _not_fetched(self, row: Row, error: ReceiverError) -> SpeechResult:
        what = "files" if kind_of(row) is JobKind.TASK else "audio"
        again = f"`tts-receiver speech --job {row['id']}` tries again."
        return self._result(
            (), (), f"The job {row['id']} is completed, but its {what} could not be fetched: {error} {again}"
        )

    async def resume_hint(self) -> str:
        """What happens to the job now, and how to resume it."""
        if self._row is None and self._creating is not None:
            # A write that has begun cannot be stopped: wait until the job's id is known.
            await asyncio.wait({self._creating})
            if not self._creating.cancelled() and self._creating.exception() is None:
                self._row = self._creating.result()
        if self._row is None:
            return "Nothing was submitted."
        with contextlib.suppress(StoreUnavailable):  # the last known state is used
            self._row = await self._client.job(self._row["id"]) or self._row
        return resume_hint(self._row)

    async def _create_job(self) -> Row:
        task = self._task
        if task.request is not None:
            self._progress.state("submitting")
            self._creating = asyncio.create_task(self._submit(task.request))
            return await asyncio.shield(self._creating)
        row = await self._client.job(task.job or "")
        if row is None:
            raise NotFound(f"There is no job {task.job}; `tts-receiver jobs list` lists them.")
        return row

    async def _submit(self, request: JobRequest) -> Row:
        if self._task.output_ended is None or not isinstance(request, Speech):
            return await self._client.submit(request, self._task.idempotency_key)
        start = await self._client.submit_stream(request, self._task.idempotency_key)
        self._stream = start.stream
        return start.row

    async def _play(self, row: Row) -> None:
        """Write the audio while it is made. Without a stream, nothing: it is written once the job has ended."""
        output, ended = self._task.output, self._task.output_ended
        if self._stream is None:
            self._progress.note("There is no stream. The audio is written once the job has ended.")
            return
        if output is None or isinstance(output, Path) or ended is None:
            raise RuntimeError("only an open stream can be written while the audio is made")
        self._progress.state("streaming")
        try:
            async with self._client.open_stream(row, self._stream) as audio:
                async for chunk in audio.chunks:
                    await asyncio.to_thread(_write, output, chunk)
                    self._played += len(chunk)
                    self._progress.state("streaming", fetched_bytes=self._played)
        except StreamFailed as error:
            text = self._client.redact(str(error))
            if not self._played:
                self._progress.note(f"{text} The audio is written once the job has ended.")
                return
            self._broken = text
            self._progress.note(f"{text} The job continues.")
        except BrokenPipeError:
            self._progress.note(f"Standard output was closed. {await self.resume_hint()}")
            raise
        ended()

    async def _report_state(self, row: Row) -> None:
        word = {JobState.SUBMITTING: "submitting", JobState.WATCHING: "watching"}.get(row["state"])
        if word is None:
            return
        self._progress.state(word, percent=row["progress"])
        reason = await self._client.stall_reason(row)
        if reason is not None and reason != self._noted:
            self._progress.stalled(self._client.redact(reason))
            self._noted = reason

    async def _fetch(self, row: Row) -> tuple[Artifact, ...]:
        self._progress.state("fetching")
        fetching = asyncio.create_task(
            self._client.files(row, lambda text: self._progress.note(self._client.redact(text)))
        )
        try:
            while not (await asyncio.wait({fetching}, timeout=POLL_INTERVAL_SECONDS))[0]:
                self._progress.state("fetching", fetched_bytes=self._client.fetched_bytes(row))
            return fetching.result()
        finally:
            fetching.cancel()

    async def _save(self, files: tuple[Artifact, ...]) -> tuple[str, ...]:
        output = self._task.output
        if output is None:
            return tuple(file.address for file in files)
        if self._played:
            return (STREAMED, *(file.address for file in files[1:]))
        if not isinstance(output, Path):
            await stream_to(files[0], output)
            if len(files) > 1:
                self._progress.note(f"The job has {len(files)} files; this is the first. -o FILE saves all of them.")
            return (STREAMED, *(file.address for file in files[1:]))
        if output.suffix and not _is_extension_of(output.suffix[1:], files[0].format):
            self._progress.note(
                f"The {_noun(files[0])} is {files[0].format}, although the file is named {output.name}."
            )
        paths = [numbered_path(output, file.n, file.format, files[0].format) for file in files]
        for file, path in zip(files, paths, strict=True):
            await save_artifact(file, path, self._task.overwrite)
        return tuple(os.fspath(path) for path in paths)

    def _result(self, files: tuple[Artifact, ...], paths: tuple[str, ...], error: str | None) -> SpeechResult:
        message = None if error is None else self._client.redact(error)
        if self._row is None:
            raise RuntimeError("a result needs the job's row")
        seconds = self._client.clock.monotonic() - self._started
        return SpeechResult(self._row, files, paths, seconds, message, self._result_value)


def _see(row: Row) -> str:
    return f"`tts-receiver events show {row['event_id']}` has what it reported."


def _noun(file: Artifact) -> str:
    return "audio" if file.kind is FileKind.AUDIO else "file"


def _write(output: BinaryIO, chunk: bytes) -> None:
    output.write(chunk)
    output.flush()


def _is_extension_of(extension: str, format: str) -> bool:
    same = {"ogg": {"ogg", "oga", "opus"}, "wav": {"wav", "wave"}, "m4a": {"m4a", "mp4"}, "aiff": {"aiff", "aif"}}
    return extension.lower() in same.get(format, {format})
