"""One speech: submit it, follow the job to its end, fetch the audio, save it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receiver.cli.speech.desk import LOOK_SECONDS, Speaker, SpeechError
from receiver.cli.speech.ends import how_to_go_on, trouble, why_not
from receiver.cli.speech.files import numbered, pour, save
from receiver.cli.speech.shown import OneShown
from receiver.durable_files import OverwritePolicy
from receiver.engine.context import Artifact
from receiver.errors import AudioError, NotFound, ReceiverError, StoreUnavailable
from receiver.providers.types import Speech
from receiver.store.jobs import Row
from receiver.store.states import JobState

STDOUT = "-"
PAUSE_EVERY_SECONDS = 2.0
"""How often the store is asked whether the source is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be done.

    Attributes:
        speech: what is to be spoken; None to go on with `job`.
        job: our id of a job that was begun before.
        output: where to; None leaves the audio in the store, `-` is standard output.
        wait: seconds in all; None for as long as the job may take.
    """

    speech: Speech | None = None
    job: str | None = None
    output: str | None = None
    if_there: OverwritePolicy = OverwritePolicy.REFUSE
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """What came of it: the job's row, its files and where they were saved; `error` says why there are none."""

    row: Row
    files: tuple[Artifact, ...]
    paths: tuple[str, ...]
    seconds: float
    error: str | None = None

    def told(self) -> dict[str, Any]:
        """All of it as JSON values."""
        files = [
            {
                "path": path,
                "bytes": file.bytes,
                "format": file.format,
                "duration": file.duration,
                "sample_rate": file.sample_rate,
                "sha256": file.sha256,
            }
            for file, path in zip(self.files, self.paths, strict=True)
        ]
        first = files[0] if files else dict.fromkeys(("path", "bytes", "format", "duration", "sample_rate", "sha256"))
        row = self.row
        about = {"id": row["id"], "job_id": row["job_id"], "source": row["source"], "state": str(row["state"])}
        return about | first | {"seconds": round(self.seconds, 3), "files": files, "error": self.error}


async def speak(speaker: Speaker, wanted: Wanted, shown: OneShown) -> Spoken:
    """Do what is wanted.

    Raises:
        NotFound: there is no job to go on with.
        SpeechError: it could not be saved, or took too long; says how to go on.
        Invalid: the provider does not take this speech. Nothing is stored then, nor sent.
    """
    one = _One(speaker, wanted, shown)
    try:
        async with asyncio.timeout(wanted.wait):
            return await one.do()
    except TimeoutError:
        raise SpeechError(f"Not done within {wanted.wait:g} s. {await one.left()}") from None
    except asyncio.CancelledError:
        shown.say(f"Stopped. {await one.left()}")
        raise
    except StoreUnavailable as error:
        raise SpeechError(f"{error} {await one.left()}") from error


class _One:
    def __init__(self, speaker: Speaker, wanted: Wanted, shown: OneShown) -> None:
        self._speaker = speaker
        self._wanted = wanted
        self._shown = shown
        self._started = time.monotonic()
        self._beginning: asyncio.Task[Row] | None = None
        self._row: Row | None = None
        self._said: str | None = None
        self._pause_at = 0.0

    async def do(self) -> Spoken:
        begun = self._row = await self._begun()
        async for row in self._speaker.follow(begun["id"]):
            self._row = row
            await self._show(row)
        if row["state"] != JobState.COMPLETED:
            return self._spoken((), (), why_not(row, await self._speaker.event(row)))
        try:
            files = await self._fetched(row)
        except (AudioError, NotFound) as error:
            again = f"`tts-receiver speech --job {row['id']}` tries it again."
            return self._spoken((), (), f"The job {row['id']} is completed, and its audio is not here: {error} {again}")
        try:
            paths = await self._saved(files)
        except ReceiverError as error:
            return self._spoken((), (), str(error))
        self._shown.state("saved")
        return self._spoken(files, paths, None)

    async def left(self) -> str:
        """What becomes of the job now."""
        if self._row is None and self._beginning is not None:
            # What is being written down cannot be stopped: wait until its id is known.
            await asyncio.wait({self._beginning})
            if not self._beginning.cancelled() and self._beginning.exception() is None:
                self._row = self._beginning.result()
        if self._row is None:
            return "Nothing was submitted."
        with contextlib.suppress(StoreUnavailable):  # then what was known last has to do
            self._row = await self._speaker.job(self._row["id"]) or self._row
        return how_to_go_on(self._row)

    async def _begun(self) -> Row:
        wanted = self._wanted
        if wanted.speech is not None:
            self._shown.state("submitting")
            self._beginning = asyncio.create_task(self._speaker.submit(wanted.speech))
            return await asyncio.shield(self._beginning)
        row = await self._speaker.job(wanted.job or "")
        if row is None:
            raise NotFound(f"There is no job {wanted.job}; `tts-receiver jobs list` shows what there is.")
        return row

    async def _show(self, row: Row) -> None:
        word = {JobState.SUBMITTING: "submitting", JobState.WATCHING: "watching"}.get(row["state"])
        if word is None:
            return
        self._shown.state(word, percent=row["progress"])
        pause = None
        if time.monotonic() >= self._pause_at:
            self._pause_at = time.monotonic() + PAUSE_EVERY_SECONDS
            pause = await self._speaker.pause()
        said = trouble(row, pause)
        if said is not None and said != self._said:
            self._shown.say(self._speaker.redact(said))
            self._said = said

    async def _fetched(self, row: Row) -> tuple[Artifact, ...]:
        self._shown.state("fetching")
        fetching = asyncio.create_task(
            self._speaker.files(row, lambda text: self._shown.say(self._speaker.redact(text)))
        )
        try:
            while not (await asyncio.wait({fetching}, timeout=LOOK_SECONDS))[0]:
                self._shown.state("fetching", count=self._speaker.fetched_bytes(row))
            return fetching.result()
        finally:
            fetching.cancel()

    async def _saved(self, files: tuple[Artifact, ...]) -> tuple[str, ...]:
        output = self._wanted.output
        if output is None:
            return tuple(file.address for file in files)
        if output == STDOUT:
            await pour(files[0])
            if len(files) > 1:
                self._shown.say(f"The job has {len(files)} files; this is the first. -o FILE saves all of them.")
            return (STDOUT, *(file.address for file in files[1:]))
        first = Path(output)
        if first.suffix and not _fits(first.suffix[1:], files[0].format):
            self._shown.say(f"The audio is {files[0].format}, whatever the name {first.name} says.")
        places = [numbered(first, file.n) for file in files]
        for file, place in zip(files, places, strict=True):
            await save(file, place, self._wanted.if_there)
        return tuple(os.fspath(place) for place in places)

    def _spoken(self, files: tuple[Artifact, ...], paths: tuple[str, ...], error: str | None) -> Spoken:
        said = None if error is None else self._speaker.redact(error)
        if self._row is None:
            raise RuntimeError("a job has a row before it has ended")
        return Spoken(self._row, files, paths, time.monotonic() - self._started, said)


def _fits(extension: str, format: str) -> bool:
    same = {"ogg": {"ogg", "oga", "opus"}, "wav": {"wav", "wave"}, "m4a": {"m4a", "mp4"}, "aiff": {"aiff", "aif"}}
    return extension.lower() in same.get(format, {format})
